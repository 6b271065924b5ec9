import NIOCore
import VMSyncCore

/// The name of a blob: a path of checked parts, the same in a folder and in an object store.
package struct BlobKey: Hashable, Sendable, CustomStringConvertible {
    package let path: String

    /// A chunk, named by its content.
    package static func chunk(_ hash: ContentHash) -> BlobKey {
        BlobKey(path: "chunks/\(hash.rawValue.prefix(2))/\(hash)")
    }

    /// A pack of `vm`. Each upload gets a key of its own, so that a refused one can be removed without a look at others.
    package static func pack(_ id: PackID, of vm: VMID) -> BlobKey {
        BlobKey(path: "packs/\(vm)/\(id)")
    }

    init(path: String) { self.path = path }

    package var description: String { path }
}

/// One upload of a pack.
package struct PackID: Hashable, Sendable, CustomStringConvertible, RawRepresentable {
    package let rawValue: String
    package init?(rawValue: String) {
        guard Identifier.isValid(rawValue) else { return nil }
        self.rawValue = rawValue
    }
    package static func random() -> PackID { PackID(unchecked: Identifier.random()) }
    private init(unchecked rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }
}

/// What the bytes of a blob must turn out to be.
package struct BlobPromise: Hashable, Sendable {
    /// Bytes in the blob.
    package let size: UInt64
    package let hash: ContentHash

    package init(size: UInt64, hash: ContentHash) {
        self.size = size
        self.hash = hash
    }
}

/// Immutable bytes under names. All errors are `VMSyncError`.
///
/// Every implementation passes the contract in `BlobStoreContract` of the tests. No call blocks the cooperative pool.
package protocol BlobStore: Sendable {
    /// Stores `bytes` under `key`. When it returns they are durable; when it throws, nothing of them is visible.
    /// A key that exists is replaced; callers only do so with the same bytes.
    /// - Throws: `corrupt` if the bytes don't keep the promise; `noSpace`, `io`; what `bytes` throws.
    func put<Bytes: AsyncSequence & Sendable>(
        _ key: BlobKey, promise: BlobPromise, bytes: Bytes
    ) async throws where Bytes.Element == ByteBuffer

    /// The bytes in the blob, nil if there is none.
    func size(of key: BlobKey) async throws -> UInt64?

    /// Those of `keys` that aren't there, in the same order.
    func missing(among keys: [BlobKey]) async throws -> [BlobKey]

    /// Up to `count` bytes from `offset`; fewer only at the end of the blob.
    /// - Throws: `notFound`.
    func read(_ key: BlobKey, at offset: UInt64, count: Int) async throws -> ByteBuffer

    /// Removes blobs; those that aren't there are no error.
    func remove(_ keys: [BlobKey]) async throws

    /// The keys of all packs.
    func packs() async throws -> [BlobKey]
}
