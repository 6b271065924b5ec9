import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

extension ClockedStore {
    /// A VM with `count` checkpoints of 7 bytes, active on the first device.
    fileprivate func vmWithHistory(_ count: UInt64) async throws -> (vm: VMID, laptop: DeviceID, packs: [BlobID]) {
        let vm = try await create("work")
        let laptop = try await join("laptop")
        _ = try await acquire(vm, by: laptop)
        var packs: [BlobID] = []
        for sequence in 1...count {
            packs.append(.random())
            try await commit(offer(sequence), to: vm, by: laptop, place: .blob(packs[packs.count - 1]))
        }
        return (vm, laptop, packs)
    }

    fileprivate func span(
        _ first: UInt64, _ last: UInt64, size: UInt64 = 7, place: PackPlace = .blob(.random())
    ) -> NewPack {
        NewPack(
            id: PackID(Sequence(rawValue: first), Sequence(rawValue: last)), size: size,
            checksum: Self.hash("span \(first) \(last)"), link: Data([1]), place: place)
    }
}

extension MetadataStoreContract {
    static let history: [Clause<ClockedStore>] = [
        Clause("the outline has every checkpoint and pack, in order and in parts") { it async throws -> Void in
            let (vm, laptop, _) = try await it.vmWithHistory(4)
            _ = try await it.store.addSpan(it.span(0, 3), of: vm)
            let outline = try await it.store.outline(of: vm, after: .base, limit: 100)
            #expect(outline.checkpoints.map(\.sequence.rawValue) == [1, 2, 3, 4])
            #expect(outline.checkpoints.map(\.parent.rawValue) == [0, 1, 2, 3])
            #expect(outline.checkpoints.allSatisfy { $0.basis == $0.parent && !$0.isForgotten && $0.tag == nil })
            #expect(outline.checkpoints.allSatisfy { $0.device == laptop && $0.created == it.clock.now })
            #expect(outline.packs.map(\.id.description) == ["0-1", "1-2", "0-3", "2-3", "3-4"])
            #expect(outline.packs.map(\.isSpan) == [false, false, true, false, false])
            #expect(outline.packs.allSatisfy { $0.size == 7 })
            var parts = try await it.store.outline(of: vm, after: .base, limit: 2)
            #expect(parts.packs.map(\.id.description) == ["0-1", "1-2"])
            parts.append(try await it.store.outline(of: vm, after: Sequence(rawValue: 2), limit: 2))
            #expect(parts == outline)
            #expect(try await it.store.outline(of: vm, after: Sequence(rawValue: 4), limit: 2) == HistoryOutline())
        },
        Clause("a VM can go back to a checkpoint that is listed, and to no other") { it async throws -> Void in
            let (vm, laptop, _) = try await it.vmWithHistory(3)
            func back(to basis: UInt64, as sequence: UInt64) async throws {
                let offer = CommitOffer(
                    epoch: Epoch(rawValue: 1), sequence: Sequence(rawValue: sequence),
                    parent: Sequence(rawValue: sequence - 1), basis: Sequence(rawValue: basis), kind: .live, size: 7,
                    checksum: ClockedStore.hash("back"))
                try await it.commit(offer, to: vm, by: laptop)
            }
            _ = try await it.store.forget([Sequence(rawValue: 2)], of: vm, isTrial: false)
            #expect(await code { try await back(to: 2, as: 4) } == .notFound)
            #expect(try await it.store.vm(vm)?.lease.head?.sequence.rawValue == 3)
            try await back(to: 1, as: 4)
            let outline = try await it.store.outline(of: vm, after: .base, limit: 100)
            #expect(outline.head?.basis.rawValue == 1 && outline.head?.parent.rawValue == 3)
            #expect(outline.route(to: Sequence(rawValue: 4), from: [.base])?.map(\.description) == ["0-1", "1-4"])
        },
        Clause("a span is kept once, between states, and has its bytes") { it async throws -> Void in
            let (vm, _, _) = try await it.vmWithHistory(3)
            let (a, b) = (try await it.addChunk("a", size: 3), try await it.addChunk("b", size: 4))
            let new = it.span(0, 2, place: .chunks([b.hash, a.hash]))
            let added = try await it.store.addSpan(new, of: vm)
            #expect(added.id == new.id && added.link == Data([1]) && added.size == 7)
            #expect(try await it.store.addSpan(it.span(0, 2), of: vm) == added, "the first one stays")
            #expect(try await it.store.spans(of: vm, after: .base, limit: 10) == [added])
            #expect(try await it.store.spans(of: vm, after: Sequence(rawValue: 2), limit: 10).isEmpty)
            let stored = try await it.store.pack(new.id, of: vm)
            #expect(stored?.blobs.map(\.id) == [b.blob, a.blob] && stored?.checksum == new.checksum)
            #expect(await code { _ = try await it.store.addSpan(it.span(0, 9), of: vm) } == .notFound)
            #expect(await code { _ = try await it.store.addSpan(it.span(1, 2), of: vm) } == .alreadyExists)
            #expect(
                await code { _ = try await it.store.addSpan(it.span(0, 3, size: 8, place: .chunks([a.hash])), of: vm) }
                    == .corrupt)
            try await it.store.setLink(Data([2]), of: new.id, of: vm)
            #expect(try await it.store.spans(of: vm, after: .base, limit: 10).map(\.link) == [Data([2])])
        },
        Clause("a tag is kept, taken off, and keeps its checkpoint on the list") { it async throws -> Void in
            let (vm, _, _) = try await it.vmWithHistory(3)
            let two = Sequence(rawValue: 2)
            try await it.store.setTag([1, 0, 255], of: two, of: vm)
            #expect(
                try await it.store.outline(of: vm, after: .base, limit: 9).checkpoint(two)?.tag == Data([1, 0, 255]))
            let all = (1...3).map { Sequence(rawValue: $0) }
            #expect(try await it.store.forget(all, of: vm, isTrial: false).checkpoints.map(\.rawValue) == [1])
            try await it.store.setTag(nil, of: two, of: vm)
            #expect(try await it.store.forget(all, of: vm, isTrial: false).checkpoints == [two])
            #expect(await code { try await it.store.setTag([1], of: two, of: vm) } == .notFound)
            #expect(await code { try await it.store.setTag([1], of: Sequence(rawValue: 9), of: vm) } == .notFound)
        },
        Clause("a thumbnail is kept, replaced, and gone with its checkpoint") { it async throws -> Void in
            let (vm, _, _) = try await it.vmWithHistory(3)
            let (one, two) = (Sequence(rawValue: 1), Sequence(rawValue: 2))
            #expect(try await it.store.thumbnail(of: two, of: vm) == nil)
            let picture = (0..<60_000).map { UInt8(truncatingIfNeeded: $0) }
            for bytes in [[1], picture] {
                try await it.store.setThumbnail(bytes, of: two, of: vm)
                #expect(try await it.store.thumbnail(of: two, of: vm) == bytes)
            }
            let outline = try await it.store.outline(of: vm, after: .base, limit: 9)
            #expect(outline.checkpoints.map(\.hasThumbnail) == [false, true, false])
            _ = try await it.store.forget([two], of: vm, isTrial: true)
            #expect(try await it.store.thumbnail(of: two, of: vm) == picture)
            _ = try await it.store.forget([two], of: vm, isTrial: false)
            let after = try await it.store.outline(of: vm, after: .base, limit: 9)
            #expect(after.checkpoints.allSatisfy { !$0.hasThumbnail })
            #expect(try await it.store.thumbnail(of: one, of: vm) == nil)
            for gone in [two, Sequence(rawValue: 9)] {
                #expect(await code { _ = try await it.store.thumbnail(of: gone, of: vm) } == .notFound)
                #expect(await code { try await it.store.setThumbnail([1], of: gone, of: vm) } == .notFound)
            }
        },
        Clause("what is pruned is what was said, is gone for good, and its blobs are told") { it async throws -> Void in
            let (vm, _, packs) = try await it.vmWithHistory(300)
            let chunk = try await it.addChunk("a", size: 7)
            _ = try await it.store.addSpan(it.span(0, 150, place: .chunks([chunk.hash])), of: vm)
            let old = (1..<300).map { Sequence(rawValue: UInt64($0)) }
            let foretold = try await it.store.forget(old, of: vm, isTrial: true)
            #expect(foretold.checkpoints == old && foretold.blobs.isEmpty)
            #expect(try await it.store.prune(vm, isTrial: true).packs == 1, "only foretold")
            let forgotten = try await it.store.forget(old, of: vm, isTrial: false)
            #expect(forgotten == foretold)
            let trial = try await it.store.prune(vm, isTrial: true)
            #expect(trial.packs == foretold.packs && trial.bytes == foretold.bytes && trial.blobs.isEmpty)
            let pruned = try await it.store.prune(vm, isTrial: false)
            #expect(pruned.bytes == trial.bytes && pruned.checkpoints == trial.checkpoints)
            #expect(pruned.packs == 150 && Set(pruned.blobs) == Set(packs.prefix(150)))
            let outline = try await it.store.outline(of: vm, after: .base, limit: 1000)
            #expect(outline.checkpoints.map(\.sequence.rawValue) == Array(150...300))
            #expect(outline.route(to: Sequence(rawValue: 300), from: [.base])?.count == 151)
            #expect(try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 149)) == nil)
            #expect(try await it.store.chunk(chunk.hash) != nil)
            // What nobody names is marked as garbage if its removal is interrupted.
            try await it.store.mark([packs[0], packs[200]])
            it.clock.advance(by: .seconds(60))
            #expect(try await it.store.doom(markedFor: .seconds(60), limit: 9) == [packs[0]])
        },
        Clause("a pack is removed only if nothing depends on it") { it async throws -> Void in
            let (vm, _, packs) = try await it.vmWithHistory(3)
            func id(_ first: UInt64, _ last: UInt64) -> PackID {
                PackID(Sequence(rawValue: first), Sequence(rawValue: last))
            }
            #expect(await code { _ = try await it.store.removePack(id(1, 2), of: vm) } == .wrongState)
            _ = try await it.store.addSpan(it.span(0, 2), of: vm)
            #expect(try await it.store.removePack(id(1, 2), of: vm) == [packs[1]])
            #expect(try await it.store.pack(id(1, 2), of: vm) == nil)
            #expect(await code { _ = try await it.store.removePack(id(0, 2), of: vm) } == .wrongState)
            #expect(try await it.store.outline(of: vm, after: .base, limit: 9).checkpoints.count == 3)
        },
        Clause("the chunks of a span that is pruned go, but for those of others") { it async throws -> Void in
            let chunks = [try await it.addChunk("base", size: 3), try await it.addChunk("own", size: 4)]
            _ = try await it.join("first")
            let vm = try await it.store.create(
                NewVM(id: .random(), account: ClockedStore.account, description: [], chunks: [chunks[0].hash])
            ).id
            let laptop = try await it.join("laptop")
            _ = try await it.acquire(vm, by: laptop)
            for sequence in UInt64(1)...210 { try await it.commit(it.offer(sequence), to: vm, by: laptop) }
            let useless = it.span(1, 3, place: .chunks(chunks.map(\.hash)))
            _ = try await it.store.addSpan(useless, of: vm)
            let cheaper = NewPack(
                id: PackID(.base, Sequence(rawValue: 50)), size: 1, checksum: ClockedStore.hash("x"), link: Data([1]),
                place: .blob(.random()))
            _ = try await it.store.addSpan(cheaper, of: vm)
            let old = (1..<210).map { Sequence(rawValue: UInt64($0)) }
            _ = try await it.store.forget(old, of: vm, isTrial: false)
            let pruned = try await it.store.prune(vm, isTrial: false)
            #expect(pruned.blobs.contains(chunks[1].blob) && !pruned.blobs.contains(chunks[0].blob))
            #expect(try await it.store.chunk(chunks[0].hash) != nil)
            #expect(try await it.store.chunk(chunks[1].hash) == nil)
        },
    ]
}
