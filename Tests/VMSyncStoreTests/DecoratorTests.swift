import NIOCore
import Synchronization
import Testing
import VMSyncCore
import VMSyncStore

@Suite("Decorators of blob stores") struct DecoratorTests {
    @Test(
        "a store that fails often keeps the contract when calls are tried again", arguments: BlobStoreContract.clauses)
    func retries(_ clause: Clause<any BlobStore>) async throws {
        try await withTemporaryFolder { folder in
            let faulty = FaultyBlobStore(try await FileBlobStore(folder: folder), rate: 0.3, seed: 1)
            try await clause.check(RetryingBlobStore(faulty, retries: 40, backoff: Backoff(first: .zero)))
            // Some clauses make too few calls for the seed to fail one.
            #expect(faulty.failures > 0 || faulty.calls < 5)
        }
    }

    @Test("what fails for good is not tried again, and what fails on and on ends") func endsOfRetrying() async throws {
        try await withTemporaryFolder { folder in
            let files = try await FileBlobStore(folder: folder)
            let counting = FaultyBlobStore(files, rate: 0, seed: 1)
            let id = BlobID.random()
            #expect(await code { _ = try await RetryingBlobStore(counting).read(id, at: 0, count: 1) } == .notFound)
            #expect(counting.calls == 1)
            let broken = FaultyBlobStore(files, rate: 1, seed: 1)
            let retrying = RetryingBlobStore(broken, retries: 3, backoff: Backoff(first: .zero))
            #expect(await code { _ = try await retrying.size(of: id) } == .unavailable)
            #expect(broken.calls == 4)
        }
    }

    @Test("only so many calls are under way at once, and all come to their end") func limit() async throws {
        try await withTemporaryFolder { folder in
            let watched = FaultyBlobStore(try await FileBlobStore(folder: folder), rate: 0, seed: 1)
            let limited = LimitedBlobStore(watched, callsMax: 3)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for byte in UInt8(0)..<50 { group.addTask { _ = try await BlobStoreContract.put([byte], in: limited) } }
                try await group.waitForAll()
            }
            #expect(watched.calls == 50)
            #expect((1...3).contains(watched.underWayMax))
        }
    }

    @Test("who is cancelled while he waits gets no turn, and takes none from others") func cancellation() async throws {
        let store = HoldingBlobStore()
        let limited = LimitedBlobStore(store, callsMax: 1)
        let first = Task { try await limited.size(of: .random()) }
        while store.waiting == 0 { await Task.yield() }
        let second = Task { try await limited.size(of: .random()) }
        second.cancel()
        #expect(await code { _ = try await second.value } == .cancelled)
        let third = Task { try await limited.size(of: .random()) }
        store.release()
        #expect(try await first.value == nil)
        while store.waiting == 0 { await Task.yield() }
        store.release()
        #expect(try await third.value == nil)
    }

    @Test("a limited store keeps the contract", arguments: BlobStoreContract.clauses)
    func limited(_ clause: Clause<any BlobStore>) async throws {
        try await withTemporaryFolder { folder in
            try await clause.check(LimitedBlobStore(try await FileBlobStore(folder: folder), callsMax: 2))
        }
    }
}

/// Asked for a size, it waits until it is released.
private final class HoldingBlobStore: BlobStore {
    private let held = Mutex<[CheckedContinuation<Void, Never>]>([])

    var waiting: Int { held.withLock { $0.count } }

    func release() {
        let all = held.withLock { held in
            defer { held = [] }
            return held
        }
        for continuation in all { continuation.resume() }
    }

    func size(of id: BlobID) async throws -> UInt64? {
        await withCheckedContinuation { continuation in held.withLock { $0.append(continuation) } }
        return nil
    }

    func put(_ id: BlobID, _ bytes: ByteBuffer, hash: ContentHash) async throws {}
    func read(_ id: BlobID, at offset: UInt64, count: Int) async throws -> ByteBuffer { ByteBuffer() }
    func remove(_ ids: [BlobID]) async throws {}
    func list() -> AsyncThrowingStream<[BlobID], any Error> { AsyncThrowingStream { $0.finish() } }
}
