import Crypto
import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

/// A store and the clock that it goes by.
struct ClockedStore: Sendable {
    let store: any MetadataStore
    let clock: ManualClock

    static func hash(_ text: String) -> ContentHash { ContentHash(digest: SHA256.hash(data: Array(text.utf8))) }

    /// Lets a device join.
    func join(_ name: String) async throws -> DeviceID {
        let code = Self.hash("code of \(name)")
        _ = try await store.invite(code, lifetime: .seconds(60))
        return try await join(name, with: code)
    }

    func join(_ name: String, with code: ContentHash) async throws -> DeviceID {
        try await store.join(
            .random(), name: name, platform: "linux", token: Self.hash("token of \(name)"), invitation: code
        ).id
    }

    func create(_ name: String) async throws -> VMID {
        let vm = NewVM(id: .random(), name: name, definition: [0, 1, 255], chunks: [])
        return try await store.create(vm).id
    }

    func offer(_ sequence: UInt64, then: AfterCommit = .keep) -> CommitOffer {
        CommitOffer(
            epoch: Epoch(rawValue: 1), sequence: Sequence(rawValue: sequence),
            parent: Sequence(rawValue: sequence - 1), kind: .live, size: 7, checksum: Self.hash("pack \(sequence)"),
            digest: "digest", then: then)
    }

    /// Commits as the server does.
    @discardableResult
    func commit(_ offer: CommitOffer, to vm: VMID, by device: DeviceID, pack: PackID = .random()) async throws
        -> CommitDecision
    {
        try await store.change(vm, commit: CommitBlob(sequence: offer.sequence, pack: pack)) { lease, context in
            try lease.commit(offer, by: device, known: context.known, at: context.now)
        }.answer
    }

    /// A decision that changes the lease and then fails.
    func breakRelease(_ vm: VMID, by device: DeviceID) async throws {
        try await store.change(vm, commit: nil) { lease, _ in
            try lease.release(by: device, epoch: lease.epoch)
            throw VMSyncError(.bug, "after the change")
        }.answer
    }

    func acquire(_ vm: VMID, by device: DeviceID) async throws -> Epoch {
        try await store.change(vm, commit: nil) { lease, _ in try lease.acquire(by: device) }.answer
    }
}

/// What every `MetadataStore` keeps. An implementation runs all clauses, each on a store of its own.
enum MetadataStoreContract {
    static let clauses = devices + vms + leases

    static let devices: [Clause<ClockedStore>] = [
        Clause("an invitation works once") { it in
            let code = ClockedStore.hash("code")
            #expect(try await it.store.invite(code, lifetime: .seconds(60)) == it.clock.now + .seconds(60))
            _ = try await it.join("laptop", with: code)
            #expect(await VMSyncStoreTests.code { _ = try await it.join("desktop", with: code) } == .unauthorized)
        },
        Clause("an invitation expires, and one that was never made does not work") { it in
            let code = ClockedStore.hash("code")
            _ = try await it.store.invite(code, lifetime: .seconds(60))
            it.clock.advance(by: .seconds(60))
            #expect(await VMSyncStoreTests.code { _ = try await it.join("laptop", with: code) } == .unauthorized)
            let other = ClockedStore.hash("other")
            #expect(await VMSyncStoreTests.code { _ = try await it.join("laptop", with: other) } == .unauthorized)
            #expect(try await it.store.devices().isEmpty)
        },
        Clause("a taken name is refused, whatever its case, and the invitation stays good") { it in
            _ = try await it.join("laptop")
            let code = ClockedStore.hash("code")
            _ = try await it.store.invite(code, lifetime: .seconds(60))
            #expect(await VMSyncStoreTests.code { _ = try await it.join("Laptop", with: code) } == .alreadyExists)
            _ = try await it.join("desktop", with: code)
        },
        Clause("of many that join with one invitation, one does") { it in
            let code = ClockedStore.hash("code")
            _ = try await it.store.invite(code, lifetime: .seconds(60))
            let joined = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<16 {
                    group.addTask { (try? await it.join("device\(number)", with: code)) != nil }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(joined == 1)
        },
        Clause("a token names its device") { it in
            let laptop = try await it.join("laptop")
            #expect(try await it.store.device(token: ClockedStore.hash("token of laptop")) == laptop)
            #expect(try await it.store.device(token: ClockedStore.hash("token of nobody")) == nil)
        },
        Clause("devices are listed as they joined, with what they told and when they were seen") { it in
            let laptop = try await it.join("laptop")
            let desktop = try await it.join("desktop")
            it.clock.advance(by: .seconds(5))
            try await it.store.seen(desktop)
            try await it.store.setCapabilities("{\"qemu\":\"7.2\"}", of: laptop)
            let devices = try await it.store.devices()
            #expect(devices.map(\.id) == [laptop, desktop])
            #expect(devices.map(\.capabilities) == ["{\"qemu\":\"7.2\"}", nil])
            #expect(devices[1].lastSeen == devices[0].lastSeen + .seconds(5))
            #expect(await code { try await it.store.setCapabilities("1", of: .random()) } == .notFound)
        },
    ]

    static let vms: [Clause<ClockedStore>] = [
        Clause("a new VM is off, free and at the base, and has its chunks") { it in
            let chunks = ["b", "a", "b"].map(ClockedStore.hash)
            let id = VMID.random()
            let vm = try await it.store.create(NewVM(id: id, name: "work", definition: [0, 255], chunks: chunks))
            #expect(vm.lease == LeaseState(vm: id))
            #expect(vm.definition == [0, 255] && vm.created == it.clock.now && vm.revision == 1)
            #expect(try await it.store.vm(id) == vm)
            #expect(try await it.store.vms() == [vm])
            #expect(try await it.store.chunks(of: id) == Set(chunks).sorted { $0.rawValue < $1.rawValue })
        },
        Clause("the same VM again is the same VM; its id or name for another is refused") { it in
            let vm = NewVM(id: .random(), name: "work", definition: [1], chunks: [])
            let first = try await it.store.create(vm)
            #expect(try await it.store.create(vm) == first)
            let sameID = NewVM(id: vm.id, name: "play", definition: [1], chunks: [])
            #expect(await code { _ = try await it.store.create(sameID) } == .alreadyExists)
            let sameName = NewVM(id: .random(), name: "WORK", definition: [1], chunks: [])
            #expect(await code { _ = try await it.store.create(sameName) } == .alreadyExists)
        },
        Clause("a removed VM is gone with its history, unless the check refuses") { it in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            let pack = PackID.random()
            _ = try await it.acquire(vm, by: laptop)
            try await it.commit(it.offer(1), to: vm, by: laptop, pack: pack)
            #expect(await code { _ = try await it.store.remove(vm) { try $0.checkDeletable() } } == .wrongState)
            #expect(try await it.store.packs() == [.pack(pack, of: vm)])
            #expect(try await it.store.remove(vm) { _ in } == [.pack(pack, of: vm)])
            #expect(try await it.store.vm(vm) == nil)
            #expect(try await it.store.packs().isEmpty)
            #expect(try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 1)) == nil)
            #expect(await code { _ = try await it.store.remove(vm) { _ in } } == .notFound)
        },
    ]

    static let leases: [Clause<ClockedStore>] = [
        Clause("what a decision leaves is what is loaded next, and each change raises the revision") { it in
            let vm = try await it.create("work")
            let (laptop, desktop) = (try await it.join("laptop"), try await it.join("desktop"))
            _ = try await it.acquire(vm, by: laptop)
            let id = SwitchID.random()
            _ = try await it.store.change(vm, commit: nil) { lease, context in
                try lease.requestSwitch(id, to: desktop, at: context.now)
            }
            let changed = try await it.store.change(vm, commit: nil) { lease, _ in
                try lease.answer(.report(["pause": 1.5]), to: id, by: laptop)
            }
            #expect(changed.vm.revision == 4)
            #expect(changed.vm.lease.lastSwitch?.steps == ["pause": 1.5])
            #expect(try await it.store.vm(vm) == changed.vm)
        },
        Clause("a decision that throws or changes nothing leaves the VM and its revision") { it in
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
        Clause("a commit is found again, as head, by its number and in the list") { it in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            _ = try await it.acquire(vm, by: laptop)
            var records: [CheckpointRecord] = []
            let pack = PackID.random()
            for sequence in UInt64(1)...5 {
                let id = sequence == 3 ? pack : .random()
                records.append(try await it.commit(it.offer(sequence), to: vm, by: laptop, pack: id).record)
            }
            #expect(try await it.store.vm(vm)?.lease.head == records[4])
            let third = try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 3))
            #expect(third?.record == records[2] && third?.pack == pack)
            #expect(try await it.store.checkpoints(of: vm, after: .base, limit: 100) == records)
            let two = Sequence(rawValue: 2)
            #expect(try await it.store.checkpoints(of: vm, after: two, limit: 2) == Array(records[2...3]))
            #expect(try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 6)) == nil)
            let huge = Sequence(rawValue: .max)
            #expect(await code { _ = try await it.store.checkpoint(of: vm, at: huge) } == .invalidInput)
        },
        Clause("an old commit is known to its repetition, long after") { it in
            let vm = try await it.create("work")
            let laptop = try await it.join("laptop")
            _ = try await it.acquire(vm, by: laptop)
            let first = try await it.commit(it.offer(1), to: vm, by: laptop)
            try await it.commit(it.offer(2, then: .release), to: vm, by: laptop)
            let before = try await it.store.vm(vm)
            #expect(try await it.commit(it.offer(1), to: vm, by: laptop) == .repeated(first.record))
            #expect(try await it.store.vm(vm) == before)
        },
        Clause("time passes for a switch by the store's clock") { it in
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
        Clause("of many commits of the same number, one wins; all numbers come once and in order") { it in
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
