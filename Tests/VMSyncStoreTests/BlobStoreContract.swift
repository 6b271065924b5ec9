import Crypto
import NIOCore
import Testing
import VMSyncCore
import VMSyncStore

/// What every `BlobStore` keeps. An implementation runs all clauses, each on a store of its own.
enum BlobStoreContract {
    /// Bytes that come in pieces, and may break off.
    struct Pieces: AsyncSequence, Sendable {
        struct BrokeOff: Error {}
        let pieces: [ByteBuffer]
        var breaksOff = false

        struct AsyncIterator: AsyncIteratorProtocol {
            var rest: ArraySlice<ByteBuffer>
            let breaksOff: Bool
            mutating func next() async throws -> ByteBuffer? {
                if let next = rest.popFirst() { return next }
                if breaksOff { throw BrokeOff() }
                return nil
            }
        }

        func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: pieces[...], breaksOff: breaksOff) }
    }

    static func promise(_ bytes: [UInt8]) -> BlobPromise {
        BlobPromise(size: UInt64(bytes.count), hash: ContentHash(digest: SHA256.hash(data: bytes)))
    }

    static func pieces(_ bytes: [UInt8], of size: Int = 100_000) -> Pieces {
        let starts = stride(from: 0, to: bytes.count, by: size)
        return Pieces(pieces: starts.map { ByteBuffer(bytes: bytes[$0..<min($0 + size, bytes.count)]) })
    }

    static func put(_ bytes: [UInt8], in store: any BlobStore) async throws -> BlobKey {
        let key = BlobKey.pack(.random(), of: .random())
        try await store.put(key, promise: promise(bytes), bytes: pieces(bytes))
        return key
    }

    static func isThere(_ key: BlobKey, in store: any BlobStore) async throws -> Bool {
        try await store.size(of: key) != nil
    }

    /// 3 MB that don't repeat within a page, so that a piece in the wrong place shows.
    static let large = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ ($0 >> 8)) }

    static let clauses: [Clause<any BlobStore>] = [
        Clause("what was put can be read, whole and in parts") { store in
            let key = try await put(large, in: store)
            #expect(try await store.size(of: key) == 3_000_000)
            #expect(try await store.read(key, at: 0, count: 3_000_000) == ByteBuffer(bytes: large))
            let part = try await store.read(key, at: 1_234_567, count: 100)
            #expect(part == ByteBuffer(bytes: large[1_234_567..<1_234_667]))
        },
        Clause("an empty blob is a blob") { store in
            let key = try await put([], in: store)
            #expect(try await store.size(of: key) == 0)
            #expect(try await store.read(key, at: 0, count: 10).readableBytes == 0)
        },
        Clause("a read at the end gives what there is") { store in
            let key = try await put([1, 2, 3], in: store)
            #expect(try await store.read(key, at: 2, count: 10) == ByteBuffer(bytes: [3]))
            #expect(try await store.read(key, at: 3, count: 10).readableBytes == 0)
            #expect(try await store.read(key, at: 1 << 40, count: 10).readableBytes == 0)
            #expect(await code { _ = try await store.read(key, at: .max, count: 1) } == .invalidInput)
        },
        Clause("what isn't there has no size, can't be read, is missing, and can be removed") { store in
            let key = BlobKey.chunk(promise([9]).hash)
            #expect(try await !isThere(key, in: store))
            #expect(await code { _ = try await store.read(key, at: 0, count: 1) } == .notFound)
            let there = try await put([1], in: store)
            #expect(try await store.missing(among: [there, key]) == [key])
            try await store.remove([key])
        },
        Clause("bytes that don't keep their promise are refused and leave nothing") { store async throws -> Void in
            let key = BlobKey.pack(.random(), of: .random())
            var flipped = large
            flipped[2_999_999] ^= 1
            let kept = promise(large)
            let wrong: [(BlobPromise, [UInt8])] = [
                (kept, flipped), (kept, large.dropLast()), (kept, large + [0]), (kept, []),
                (BlobPromise(size: 3_000_000, hash: promise([]).hash), large),
            ]
            for (promise, bytes) in wrong {
                #expect(
                    await code { try await store.put(key, promise: promise, bytes: pieces(bytes)) } == .corrupt)
                #expect(try await !isThere(key, in: store))
            }
        },
        Clause("bytes that break off throw what broke them, and leave nothing") { store async throws -> Void in
            let key = BlobKey.pack(.random(), of: .random())
            let broken = Pieces(pieces: pieces(large).pieces, breaksOff: true)
            await #expect(throws: Pieces.BrokeOff.self) {
                try await store.put(key, promise: promise(large), bytes: broken)
            }
            #expect(try await !isThere(key, in: store))
        },
        Clause("the same blob may be put again") { store in
            let key = BlobKey.chunk(promise([5]).hash)
            for _ in 0..<2 { try await store.put(key, promise: promise([5]), bytes: pieces([5])) }
            #expect(try await store.read(key, at: 0, count: 9) == ByteBuffer(bytes: [5]))
        },
        Clause("packs are listed, chunks aren't, and the removed are gone") { store in
            #expect(try await store.packs().isEmpty)
            let keys = [try await put([1], in: store), try await put([2], in: store)]
            try await store.put(.chunk(promise([3]).hash), promise: promise([3]), bytes: pieces([3]))
            #expect(Set(try await store.packs()) == Set(keys))
            try await store.remove([keys[0]])
            #expect(try await store.packs() == [keys[1]])
            #expect(try await !isThere(keys[0], in: store))
        },
        Clause("many blobs can be put at once") { store in
            try await withThrowingTaskGroup(of: (BlobKey, UInt8).self) { group in
                for byte in UInt8(0)..<40 {
                    group.addTask { (try await put([UInt8](repeating: byte, count: 50_000), in: store), byte) }
                }
                for try await (key, byte) in group {
                    #expect(try await store.read(key, at: 49_999, count: 9) == ByteBuffer(bytes: [byte]))
                }
            }
        },
    ]
}
