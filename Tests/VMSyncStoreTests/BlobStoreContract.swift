import Crypto
import NIOCore
import Testing
import VMSyncCore
import VMSyncStore

/// What every `BlobStore` keeps. An implementation runs all clauses, each on a store of its own.
enum BlobStoreContract {
    static func hash(_ bytes: [UInt8]) -> ContentHash { ContentHash(digest: SHA256.hash(data: bytes)) }

    static func put(_ bytes: [UInt8], in store: any BlobStore) async throws -> BlobID {
        let id = BlobID.random()
        try await store.put(id, ByteBuffer(bytes: bytes), hash: hash(bytes))
        return id
    }

    static func isThere(_ id: BlobID, in store: any BlobStore) async throws -> Bool {
        try await store.size(of: id) != nil
    }

    static func all(in store: any BlobStore) async throws -> [BlobID] {
        try await store.list().reduce(into: []) { $0 += $1 }
    }

    /// 3 MB that don't repeat within a page, so that a piece in the wrong place shows.
    static let large = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ ($0 >> 8)) }

    static let clauses: [Clause<any BlobStore>] = [
        Clause("what was put can be read, whole and in parts") { store async throws -> Void in
            let id = try await put(large, in: store)
            #expect(try await store.size(of: id) == 3_000_000)
            #expect(try await store.read(id, at: 0, count: 3_000_000) == ByteBuffer(bytes: large))
            let part = try await store.read(id, at: 1_234_567, count: 100)
            #expect(part == ByteBuffer(bytes: large[1_234_567..<1_234_667]))
        },
        Clause("an empty blob is a blob") { store async throws -> Void in
            let id = try await put([], in: store)
            #expect(try await store.size(of: id) == 0)
            #expect(try await store.read(id, at: 0, count: 10).readableBytes == 0)
        },
        Clause("a read at the end gives what there is") { store async throws -> Void in
            let id = try await put([1, 2, 3], in: store)
            #expect(try await store.read(id, at: 2, count: 10) == ByteBuffer(bytes: [3]))
            #expect(try await store.read(id, at: 3, count: 10).readableBytes == 0)
            #expect(try await store.read(id, at: 1, count: 0).readableBytes == 0)
            #expect(try await store.read(id, at: 1 << 40, count: 10).readableBytes == 0)
            #expect(await code { _ = try await store.read(id, at: .max, count: 1) } == .invalidInput)
        },
        Clause("what isn't there has no size, can't be read, and can be removed") { store async throws -> Void in
            let id = BlobID.random()
            #expect(try await !isThere(id, in: store))
            #expect(await code { _ = try await store.read(id, at: 0, count: 1) } == .notFound)
            #expect(await code { _ = try await store.read(id, at: 0, count: 0) } == .notFound)
            try await store.remove([id])
        },
        Clause("bytes that aren't those announced are refused and leave nothing") { store async throws -> Void in
            let id = BlobID.random()
            var flipped = large
            flipped[2_999_999] ^= 1
            for bytes in [flipped, large.dropLast(), large + [0], []] {
                let wrong = await code { try await store.put(id, ByteBuffer(bytes: bytes), hash: hash(large)) }
                #expect(wrong == .corrupt)
                #expect(try await !isThere(id, in: store))
            }
        },
        Clause("the same blob may be put again") { store async throws -> Void in
            let id = BlobID.random()
            for _ in 0..<2 { try await store.put(id, ByteBuffer(bytes: [5]), hash: hash([5])) }
            #expect(try await store.read(id, at: 0, count: 9) == ByteBuffer(bytes: [5]))
        },
        Clause("blobs are listed, and the removed are gone") { store async throws -> Void in
            #expect(try await all(in: store).isEmpty)
            let ids = [try await put([1], in: store), try await put([2], in: store)]
            #expect(Set(try await all(in: store)) == Set(ids))
            try await store.remove([ids[0]])
            #expect(try await all(in: store) == [ids[1]])
            #expect(try await !isThere(ids[0], in: store))
        },
        Clause("many blobs can be put, read and removed at once") { store async throws -> Void in
            try await withThrowingTaskGroup(of: (BlobID, UInt8).self) { group in
                for byte in UInt8(0)..<40 {
                    group.addTask { (try await put([UInt8](repeating: byte, count: 50_000), in: store), byte) }
                }
                for try await (id, byte) in group {
                    #expect(try await store.read(id, at: 49_999, count: 9) == ByteBuffer(bytes: [byte]))
                }
            }
            let ids = try await all(in: store)
            #expect(ids.count == 40)
            try await store.remove(ids)
            #expect(try await all(in: store).isEmpty)
        },
    ]
}
