import NIOCore
import VMSyncCore

/// Tries again what a store could not do at the moment.
package struct RetryingBlobStore: BlobStore {
    private let store: any BlobStore
    private let retries: Int
    private let backoff: Backoff

    /// - Parameters:
    ///   - retries: after the first try.
    ///   - backoff: between two tries.
    package init(_ store: any BlobStore, retries: Int = 5, backoff: Backoff = Backoff()) {
        self.store = store
        self.retries = retries
        self.backoff = backoff
    }

    private func retrying<Answer: Sendable>(_ call: @Sendable () async throws -> Answer) async throws -> Answer {
        for attempt in 1..<(retries + 1) {
            do {
                return try await call()
            } catch let error as VMSyncError where error.code == .unavailable {
                try await backoff.sleep(attempt: attempt)
            }
        }
        return try await call()
    }

    package func put(_ id: BlobID, _ bytes: ByteBuffer, hash: ContentHash) async throws {
        try await retrying { try await store.put(id, bytes, hash: hash) }
    }

    package func size(of id: BlobID) async throws -> UInt64? { try await retrying { try await store.size(of: id) } }

    package func read(_ id: BlobID, at offset: UInt64, count: Int) async throws -> ByteBuffer {
        try await retrying { try await store.read(id, at: offset, count: count) }
    }

    package func remove(_ ids: [BlobID]) async throws { try await retrying { try await store.remove(ids) } }

    /// Not tried again: who lists does so again later.
    package func list() -> AsyncThrowingStream<[BlobID], any Error> { store.list() }
}
