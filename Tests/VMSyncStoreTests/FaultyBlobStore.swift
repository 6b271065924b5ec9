import NIOCore
import Synchronization
import VMSyncCore
import VMSyncStore
import VMSyncTestSupport

/// Fails some calls, as a store far away does: before it did anything, or after it did all; and counts them. The same seed
/// fails the same calls if they come in the same order.
final class FaultyBlobStore: BlobStore {
    private enum Failure { case before, after }

    private struct State {
        var generator: SeededRandom
        var calls = 0
        var failures = 0
        var underWay = 0
        var underWayMax = 0
    }

    private let store: any BlobStore
    private let rate: Double
    private let state: Mutex<State>

    /// - Parameter rate: the part of all calls that fails, 0 to 1.
    init(_ store: any BlobStore, rate: Double, seed: UInt64) {
        self.store = store
        self.rate = rate
        state = Mutex(State(generator: SeededRandom(seed: seed)))
    }

    var calls: Int { state.withLock { $0.calls } }
    var failures: Int { state.withLock { $0.failures } }
    var underWayMax: Int { state.withLock { $0.underWayMax } }

    private func failing<Answer: Sendable>(_ call: () async throws -> Answer) async throws -> Answer {
        let failure = begin()
        defer { state.withLock { $0.underWay -= 1 } }
        if failure == .before { throw VMSyncError(.unavailable, "planted: nothing was done") }
        let answer = try await call()
        if failure == .after { throw VMSyncError(.unavailable, "planted: the answer was lost") }
        return answer
    }

    private func begin() -> Failure? {
        state.withLock { state in
            state.calls += 1
            state.underWay += 1
            state.underWayMax = max(state.underWayMax, state.underWay)
            guard Double.random(in: 0..<1, using: &state.generator) < rate else { return nil }
            state.failures += 1
            return Bool.random(using: &state.generator) ? .before : .after
        }
    }

    func put(_ id: BlobID, _ bytes: ByteBuffer, hash: ContentHash) async throws {
        try await failing { try await store.put(id, bytes, hash: hash) }
    }

    func size(of id: BlobID) async throws -> UInt64? { try await failing { try await store.size(of: id) } }

    func read(_ id: BlobID, at offset: UInt64, count: Int) async throws -> ByteBuffer {
        try await failing { try await store.read(id, at: offset, count: count) }
    }

    func remove(_ ids: [BlobID]) async throws { try await failing { try await store.remove(ids) } }

    func list() -> AsyncThrowingStream<[BlobID], any Error> { store.list() }
}
