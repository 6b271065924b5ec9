import NIOCore
import VMSyncCore

/// The name of a blob: made anew for each upload, so that nothing is ever written twice under one name, and what was given
/// up can't come back. Its form is that of `Identifier`.
package struct BlobID: Hashable, Sendable, CustomStringConvertible, RawRepresentable {
    package let rawValue: String
    package init?(rawValue: String) {
        guard Identifier.isValid(rawValue) else { return nil }
        self.rawValue = rawValue
    }
    package static func random() -> BlobID { BlobID(unchecked: Identifier.random()) }
    private init(unchecked rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }

    /// In two levels, because folders of a million files are slow: the same in a folder and in an object store.
    var path: String { "blobs/\(rawValue.prefix(2))/\(rawValue)" }

    /// The blob at `path`, nil if it is none.
    init?(path: some StringProtocol) {
        guard let name = path.split(separator: "/").last, let id = BlobID(rawValue: String(name)), id.path == path
        else { return nil }
        self = id
    }
}

/// Immutable bytes under names, some MB at most. All errors are `VMSyncError`.
///
/// Every implementation passes the contract in `BlobStoreContract` of the tests. No call blocks the cooperative pool. All
/// may be repeated: after `unavailable` it is open whether the call did something.
package protocol BlobStore: Sendable {
    /// Stores `bytes` under `id`, which only ever stands for them. When it returns they are durable; until then they are
    /// there whole or not at all.
    /// - Parameter hash: of `bytes`.
    /// - Throws: `corrupt` if they don't have that hash; `noSpace`, `io`, `unavailable`.
    func put(_ id: BlobID, _ bytes: ByteBuffer, hash: ContentHash) async throws

    /// The bytes in the blob, nil if there is none.
    func size(of id: BlobID) async throws -> UInt64?

    /// Up to `count` bytes from `offset`; fewer only at the end of the blob.
    /// - Throws: `notFound`.
    func read(_ id: BlobID, at offset: UInt64, count: Int) async throws -> ByteBuffer

    /// Removes blobs; those that aren't there are no error.
    func remove(_ ids: [BlobID]) async throws

    /// All blobs, in portions of the store's choosing. What is put or removed meanwhile may be among them or not.
    func list() -> AsyncThrowingStream<[BlobID], any Error>
}
