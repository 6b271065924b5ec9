import NIOCore
import VMSyncCore

/// Tries again what a store could not do at the moment.
package struct RetryingBlobStore: BlobStore {
    private let store: any BlobStore
    private let retries: Int
    private let firstPause: Duration

    /// - Parameters:
    ///   - retries: after the first try.
    ///   - firstPause: before the first retry; it doubles from one to the next, and a random part of it is waited.
    package init(_ store: any BlobStore, retries: Int = 5, firstPause: Duration = .milliseconds(100)) {
        self.store = store
        self.retries = retries
        self.firstPause = firstPause
    }

    private func retrying<Answer: Sendable>(_ call: @Sendable () async throws -> Answer) async throws -> Answer {
        var pause = firstPause
        for _ in 0..<retries {
            do {
                return try await call()
            } catch let error as VMSyncError where error.code == .unavailable {
                try await Task.sleep(for: pause * Double.random(in: 0.5...1))
                pause *= 2
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
