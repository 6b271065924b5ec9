import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

extension MetadataStoreContract {
    // MARK: VMs, leases and checkpoints

    static let vms: [Clause<ClockedStore>] = [
        Clause("a new VM is off, free and at the base, and has its chunks") { it async throws -> Void in
            let chunks = ["b", "a", "b"].map(ClockedStore.hash)
            for name in ["a", "b"] { try await it.addChunk(name) }
            let id = VMID.random()
            _ = try await it.join("laptop")
            let vm = try await it.store.create(
                NewVM(id: id, account: ClockedStore.account, description: [0, 255], chunks: chunks))
            #expect(vm.lease == LeaseState(vm: id))
            #expect(
                vm.description == [0, 255] && vm.account == ClockedStore.account && vm.created == it.clock.now
                    && vm.revision == 1)
            #expect(try await it.store.vm(id) == vm)
            #expect(try await it.store.vms(of: ClockedStore.account) == [vm])
            #expect(try await it.store.chunks(of: id) == Set(chunks).sorted { $0.rawValue < $1.rawValue })
        },
        Clause("the same VM again is the same VM; its id for another is refused") { it async throws -> Void in
            _ = try await it.join("laptop")
            let vm = NewVM(id: .random(), account: ClockedStore.account, description: [1], chunks: [])
            let first = try await it.store.create(vm)
            #expect(try await it.store.create(vm) == first)
            let sameID = NewVM(id: vm.id, account: ClockedStore.account, description: [2], chunks: [])
            #expect(await code { _ = try await it.store.create(sameID) } == .alreadyExists)
            #expect(try await it.store.vms(of: ClockedStore.hash("other")).isEmpty)
        },
        Clause("a VM's policy is what was set last, and each change raises the revision") { it async throws -> Void in
            let vm = try await it.create("work")
            let before = try #require(try await it.store.vm(vm))
            #expect(before.policy == nil)
            let set = try await it.store.setPolicy([1, 0, 255], of: vm)
            #expect(set.policy == [1, 0, 255] && set.revision > before.revision)
            #expect(try await it.store.vm(vm) == set)
            let laptop = try await it.join("laptop")
            _ = try await it.acquire(vm, by: laptop)
            #expect(try await it.store.vm(vm)?.policy == [1, 0, 255])
            #expect(try await it.store.setPolicy(nil, of: vm).policy == nil)
            #expect(await code { _ = try await it.store.setPolicy([1], of: .random()) } == .notFound)
        },
        Clause("of each device its last word about itself and a VM is kept") { it async throws -> Void in
            let vm = try await it.create("work")
            let (laptop, desktop) = (try await it.join("laptop"), try await it.join("desktop"))
            let first = try await it.store.setStanding(
                held: Sequence(rawValue: 4), note: [0, 1], of: vm, by: laptop)
            let word = try #require(first.standings.first)
            #expect(first.standings.count == 1 && word.device == laptop && word.held == Sequence(rawValue: 4))
            #expect(word.note == [0, 1] && word.told == it.clock.now)
            _ = try await it.store.setStanding(held: Sequence(rawValue: 9), note: nil, of: vm, by: desktop)
            let last = try await it.store.setStanding(held: Sequence(rawValue: 5), note: nil, of: vm, by: laptop)
            #expect(last.revision > first.revision)
            #expect(Set(last.standings.map(\.held.rawValue)) == [5, 9] && last.standings.allSatisfy { $0.note == nil })
            #expect(try await it.store.vm(vm) == last)
            #expect(
                await code {
                    _ = try await it.store.setStanding(held: .base, note: nil, of: .random(), by: laptop)
                } == .notFound)
            _ = try await it.store.remove(vm) { _ in }
            #expect(try await it.store.vm(vm) == nil)
        },
        Clause("a removed VM is gone with its history, unless the check refuses") { it async throws -> Void in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            let pack = BlobID.random()
            _ = try await it.acquire(vm, by: laptop)
            try await it.commit(it.offer(1), to: vm, by: laptop, place: .blob(pack))
            #expect(await code { _ = try await it.store.remove(vm) { try $0.checkDeletable() } } == .wrongState)
            #expect(try await it.store.remove(vm) { _ in } == [pack])
            #expect(try await it.store.vm(vm) == nil)
            #expect(try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 1)) == nil)
            #expect(await code { _ = try await it.store.remove(vm) { _ in } } == .notFound)
        },
    ]

    static let leases: [Clause<ClockedStore>] = [
        Clause("what a decision leaves is what is loaded next, and each change raises the revision") {
            it async throws -> Void in
            let vm = try await it.create("work")
            let (laptop, desktop) = (try await it.join("laptop"), try await it.join("desktop"))
            _ = try await it.acquire(vm, by: laptop)
            let id = SwitchID.random()
            _ = try await it.store.change(vm, commit: nil) { lease, context in
                try lease.requestSwitch(id, to: desktop, at: context.now)
            }
            let changed = try await it.store.change(vm, commit: nil) { lease, context in
                try lease.answer(.report(["pause": 1.5]), to: id, by: laptop, at: context.now)
            }
            #expect(changed.vm.revision == 4)
            #expect(changed.vm.lease.lastSwitch?.steps == ["pause": 1.5])
            #expect(try await it.store.vm(vm) == changed.vm)
        },
        Clause("a decision that throws or changes nothing leaves the VM and its revision") { it async throws -> Void in
            let vm = try await it.create("work")
            let (laptop, desktop) = (try await it.join("laptop"), try await it.join("desktop"))
            _ = try await it.acquire(vm, by: laptop)
            let before = try await it.store.vm(vm)
            _ = try await it.acquire(vm, by: laptop)
            #expect(await code { _ = try await it.acquire(vm, by: desktop) } == .leaseHeld)
            #expect(await code { try await it.breakRelease(vm, by: laptop) } == .bug)
            #expect(try await it.store.vm(vm) == before)
            #expect(await code { _ = try await it.acquire(.random(), by: laptop) } == .notFound)
        },
        Clause("a commit is found again, as head, by its number and in the list") { it async throws -> Void in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            _ = try await it.acquire(vm, by: laptop)
            var records: [CheckpointRecord] = []
            let pack = BlobID.random()
            for sequence in UInt64(1)...5 {
                let place = PackPlace.blob(sequence == 3 ? pack : .random())
                records.append(try await it.commit(it.offer(sequence), to: vm, by: laptop, place: place).record)
            }
            #expect(try await it.store.vm(vm)?.lease.head == records[4])
            let two = Sequence(rawValue: 2)
            let third = try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 3))
            #expect(third == records[2])
            #expect(try await it.store.pack(PackID(two, Sequence(rawValue: 3)), of: vm)?.blobs.map(\.id) == [pack])
            #expect(try await it.store.checkpoints(of: vm, after: .base, limit: 100) == records)
            #expect(try await it.store.checkpoints(of: vm, after: two, limit: 2) == Array(records[2...3]))
            #expect(try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 6)) == nil)
            let huge = Sequence(rawValue: .max)
            #expect(await code { _ = try await it.store.checkpoint(of: vm, at: huge) } == .invalidInput)
        },
        Clause("the word of a device that gave the VM back is kept until the next commit") { it async throws -> Void in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            _ = try await it.acquire(vm, by: laptop)
            let word = Data([1, 2, 3])
            _ = try await it.store.change(vm, commit: nil) { lease, _ in
                try lease.release(by: laptop, epoch: lease.epoch, word: word)
            }
            #expect(try await it.store.vm(vm)?.lease.release == word)
            let epoch = try await it.acquire(vm, by: laptop)
            let offer = CommitOffer(
                epoch: epoch, sequence: Sequence(rawValue: 1), parent: .base, kind: .live, size: 1,
                checksum: ClockedStore.hash("pack"))
            try await it.commit(offer, to: vm, by: laptop)
            #expect(try await it.store.vm(vm)?.lease.release == nil)
        },
        Clause("an old commit is known to its repetition, long after") { it async throws -> Void in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            _ = try await it.acquire(vm, by: laptop)
            let first = try await it.commit(it.offer(1), to: vm, by: laptop)
            try await it.commit(it.offer(2, then: .release), to: vm, by: laptop)
            let before = try await it.store.vm(vm)
            #expect(try await it.commit(it.offer(1), to: vm, by: laptop) == .repeated(first.record))
            #expect(try await it.store.vm(vm) == before)
        },
        Clause("time passes for a switch by the store's clock") { it async throws -> Void in
            let vm = try await it.create("work")
            let (laptop, desktop) = (try await it.join("laptop"), try await it.join("desktop"))
            _ = try await it.acquire(vm, by: laptop)
            let request: @Sendable (inout LeaseState, DecisionContext) throws -> SwitchRecord = { lease, context in
                try lease.requestSwitch(.random(), to: desktop, at: context.now)
            }
            _ = try await it.store.change(vm, commit: nil, decide: request)
            #expect(await code { _ = try await it.store.change(vm, commit: nil, decide: request) } == .leaseHeld)
            it.clock.advance(by: SwitchRecord.openMax)
            #expect(try await it.store.vm(vm)?.lease.lastSwitch?.state == .expired)
            _ = try await it.store.change(vm, commit: nil, decide: request)
        },
        Clause("of many commits of the same number, one wins; all numbers come once and in order") {
            it async throws -> Void in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            _ = try await it.acquire(vm, by: laptop)
            for sequence in UInt64(1)...5 {
                let won = await withTaskGroup(of: Bool.self) { group in
                    for number in 0..<16 {
                        let offer = CommitOffer(
                            epoch: Epoch(rawValue: 1), sequence: Sequence(rawValue: sequence),
                            parent: Sequence(rawValue: sequence - 1), kind: .live, size: 1,
                            checksum: ClockedStore.hash("\(sequence) by \(number)"))
                        group.addTask { (try? await it.commit(offer, to: vm, by: laptop)) != nil }
                    }
                    return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
                }
                #expect(won == 1)
            }
            let all = try await it.store.checkpoints(of: vm, after: .base, limit: 100)
            #expect(all.map(\.sequence.rawValue) == [1, 2, 3, 4, 5])
        },
    ]
}
