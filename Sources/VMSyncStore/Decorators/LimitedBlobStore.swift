import NIOCore
import VMSyncCore

/// Lets only so many calls be under way at once: a store that gets more slows down, and each holds some MB.
package struct LimitedBlobStore: BlobStore {
    private let store: any BlobStore
    private let permits: Permits

    package init(_ store: any BlobStore, callsMax: Int) {
        self.store = store
        permits = Permits(callsMax)
    }

    package func put(_ id: BlobID, _ bytes: ByteBuffer, hash: ContentHash) async throws {
        try await permits.with { try await store.put(id, bytes, hash: hash) }
    }

    package func size(of id: BlobID) async throws -> UInt64? { try await permits.with { try await store.size(of: id) } }

    package func read(_ id: BlobID, at offset: UInt64, count: Int) async throws -> ByteBuffer {
        try await permits.with { try await store.read(id, at: offset, count: count) }
    }

    package func remove(_ ids: [BlobID]) async throws { try await permits.with { try await store.remove(ids) } }

    package func list() -> AsyncThrowingStream<[BlobID], any Error> { store.list() }
}
