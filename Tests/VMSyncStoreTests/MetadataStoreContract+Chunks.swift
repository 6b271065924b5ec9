import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

extension MetadataStoreContract {
    // MARK: where bytes are, and when they may go

    static let chunks: [Clause<ClockedStore>] = [
        Clause("a chunk is known by its name, and the first blob that holds it stays") { it async throws -> Void in
            let (a, b) = (ClockedStore.hash("a"), ClockedStore.hash("b"))
            #expect(try await it.store.missing(among: [a, b]) == [a, b])
            let first = StoredChunk(hash: a, blob: .random(), size: 7)
            #expect(try await it.store.add(first) == first)
            #expect(try await it.store.add(StoredChunk(hash: a, blob: .random(), size: 7)) == first)
            #expect(try await it.store.chunk(a) == first)
            #expect(try await it.store.chunk(b) == nil)
            #expect(try await it.store.missing(among: [b, a, b]) == [b, b])
        },
        Clause("of many that add one chunk, one does") { it async throws -> Void in
            let blobs = try await withThrowingTaskGroup(of: BlobID.self) { group in
                for _ in 0..<16 { group.addTask { try await it.addChunk("a").blob } }
                return try await group.reduce(into: Set<BlobID>()) { $0.insert($1) }
            }
            #expect(blobs.count == 1)
        },
        Clause("a VM or a pack whose chunks aren't there is refused") { it async throws -> Void in
            let laptop = try await it.join("laptop")
            let absent = ClockedStore.hash("absent")
            let incomplete = NewVM(
                id: .random(), account: ClockedStore.account, description: [], chunks: [absent])
            #expect(await code { _ = try await it.store.create(incomplete) } == .wrongState)
            #expect(try await it.store.vms(of: ClockedStore.account).isEmpty)
            let vm = try await it.create("work")
            _ = try await it.acquire(vm, by: laptop)
            let known = try await it.addChunk("a", size: 3)
            #expect(await it.refusal(of: [known.hash, absent], as: vm, by: laptop) == .wrongState)
            #expect(await it.refusal(of: [known.hash], as: vm, by: laptop) == .corrupt)
            #expect(await it.refusal(of: [known.hash, known.hash, known.hash], as: vm, by: laptop) == .corrupt)
            #expect(try await it.store.vm(vm)?.lease.head == nil)
        },
        Clause("a pack in chunks is found again, in their order and as often as they come") { it async throws -> Void in
            let laptop = try await it.join("laptop")
            let vm = try await it.create("work")
            _ = try await it.acquire(vm, by: laptop)
            let (a, b) = (try await it.addChunk("a", size: 3), try await it.addChunk("b", size: 1))
            try await it.commit(it.offer(1), to: vm, by: laptop, place: .chunks([b.hash, a.hash, a.hash]))
            let found = try await it.store.pack(PackID(.base, Sequence(rawValue: 1)), of: vm)
            #expect(found?.blobs.map(\.id) == [b.blob, a.blob, a.blob])
            #expect(found?.blobs.map(\.size) == [1, 3, 3])
        },
    ]

    static let garbage: [Clause<ClockedStore>] = [
        Clause("a blob without a name is given up when it was marked long ago, and then gets none any more") {
            it async throws -> Void in
            let blob = BlobID.random()
            try await it.store.mark([blob])
            it.clock.advance(by: .seconds(59))
            try await it.store.mark([blob])
            #expect(try await it.store.doom(markedFor: .seconds(60), limit: 10).isEmpty)
            it.clock.advance(by: .seconds(1))
            #expect(try await it.store.doom(markedFor: .seconds(60), limit: 10) == [blob])
            // Until the bytes are gone, it is told again.
            #expect(try await it.store.doom(markedFor: .seconds(60), limit: 10) == [blob])
            let late = StoredChunk(hash: ClockedStore.hash("a"), blob: blob, size: 1)
            #expect(await code { _ = try await it.store.add(late) } == .unavailable)
            #expect(try await it.store.chunk(late.hash) == nil)
            try await it.store.removed([blob])
            #expect(try await it.store.doom(markedFor: .seconds(60), limit: 10).isEmpty)
        },
        Clause("a blob that gets its name after it was marked stays") { it async throws -> Void in
            let laptop = try await it.join("laptop")
            let vm = try await it.create("work")
            _ = try await it.acquire(vm, by: laptop)
            let (pack, chunk) = (BlobID.random(), BlobID.random())
            try await it.store.mark([pack, chunk])
            try await it.commit(it.offer(1), to: vm, by: laptop, place: .blob(pack))
            _ = try await it.store.add(StoredChunk(hash: ClockedStore.hash("a"), blob: chunk, size: 1))
            try await it.store.mark([pack, chunk])
            it.clock.advance(by: .seconds(60))
            #expect(try await it.store.doom(markedFor: .seconds(60), limit: 10).isEmpty)
        },
        Clause("chunks that nothing needs are dropped when they are old, and their blobs have no name then") {
            it async throws -> Void in
            let laptop = try await it.join("laptop")
            let (base, packed, unused) = (
                try await it.addChunk("base"), try await it.addChunk("packed", size: 7), try await it.addChunk("unused")
            )
            let vm = try await it.store.create(
                NewVM(id: .random(), account: ClockedStore.account, description: [], chunks: [base.hash])
            ).id
            _ = try await it.acquire(vm, by: laptop)
            try await it.commit(it.offer(1), to: vm, by: laptop, place: .chunks([packed.hash]))
            #expect(try await it.store.dropChunks(unusedFor: .seconds(60)) == 0)
            it.clock.advance(by: .seconds(61))
            let young = try await it.addChunk("young")
            #expect(try await it.store.dropChunks(unusedFor: .seconds(60)) == 1)
            #expect(
                try await it.store.missing(among: [base, packed, unused, young].map(\.hash)) == [unused.hash])
            try await it.store.mark([base, packed, unused, young].map(\.blob))
            #expect(try await it.store.doom(markedFor: .zero, limit: 10) == [unused.blob])
            // What a deleted VM needed is needed no more.
            #expect(try await it.store.remove(vm) { _ in }.isEmpty)
            it.clock.advance(by: .seconds(61))
            #expect(try await it.store.dropChunks(unusedFor: .seconds(60)) == 3)
        },
        Clause("only so many are told at once") { it async throws -> Void in
            try await it.store.mark((0..<5).map { _ in .random() })
            let first = try await it.store.doom(markedFor: .zero, limit: 3)
            try await it.store.removed(first)
            #expect(first.count == 3)
            #expect(try await it.store.doom(markedFor: .zero, limit: 3).count == 2)
        },
    ]
}
