import Crypto
import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

/// A store and the clock that it goes by.
struct ClockedStore: Sendable {
    let store: any MetadataStore
    let clock: ManualClock

    static func hash(_ text: String) -> ContentHash { ContentHash(digest: SHA256.hash(data: Array(text.utf8))) }

    /// The account that most clauses live in.
    static let account = hash("account")

    func found(
        _ account: ContentHash = account, by device: DeviceID = .random(), with code: ContentHash
    ) async throws -> DeviceID {
        try await store.found(
            account, by: device, entry: Array("found".utf8), recovery: Self.hash("recovery of \(account)"),
            invitation: code)
        return device
    }

    /// Makes a device a member; the first one makes the account.
    func join(_ name: String) async throws -> DeviceID {
        let code = Self.hash("code of \(name)")
        if try await !store.hasAccounts() {
            _ = try await store.invite(code, to: nil, lifetime: .seconds(60))
            return try await found(with: code)
        }
        let device = DeviceID.random()
        try await store.apply(application(of: device), lifetime: .seconds(60))
        try await append(name, .admit(device, welcome: nil))
        return device
    }

    func application(of device: DeviceID, ticket: ContentHash? = nil) -> Application {
        Application(device: device, identity: [1, 2], ticket: ticket, proof: ticket.map { _ in [3] })
    }

    func append(
        _ entry: String, _ effect: RosterEffect, number: Int? = nil, grants: [StoredGrant] = []
    ) async throws {
        let count = try await store.roster(of: Self.account, from: 0).count
        try await store.append(
            Array(entry.utf8), number: number ?? count, to: Self.account, effect, grants: grants)
    }

    /// Why `device` can't be let into the account.
    func refusal(toAdmit device: DeviceID) async -> VMSyncError.Code? {
        await code { try await append("device", .admit(device, welcome: nil)) }
    }

    /// Why the first pack of `vm` can't be these chunks.
    func refusal(of chunks: [ContentHash], as vm: VMID, by device: DeviceID) async -> VMSyncError.Code? {
        await code { try await commit(offer(1), to: vm, by: device, place: .chunks(chunks)) }
    }

    /// Makes a chunk known, in a blob of its own.
    @discardableResult
    func addChunk(_ text: String, size: UInt64 = 1) async throws -> StoredChunk {
        try await store.add(StoredChunk(hash: Self.hash(text), blob: .random(), size: size))
    }

    func create(_ name: String) async throws -> VMID {
        if try await !store.hasAccounts() { _ = try await join("first") }
        return try await store.create(
            NewVM(id: .random(), account: Self.account, description: Array(name.utf8), chunks: [])
        ).id
    }

    func offer(_ sequence: UInt64, then: AfterCommit = .keep) -> CommitOffer {
        CommitOffer(
            epoch: Epoch(rawValue: 1), sequence: Sequence(rawValue: sequence),
            parent: Sequence(rawValue: sequence - 1), kind: .live, size: 7, checksum: Self.hash("pack \(sequence)"),
            statement: Data("statement".utf8), then: then)
    }

    /// Commits as the server does.
    @discardableResult
    func commit(_ offer: CommitOffer, to vm: VMID, by device: DeviceID, place: PackPlace = .blob(.random()))
        async throws
        -> CommitDecision
    {
        try await store.change(vm, commit: CommitContent(sequence: offer.sequence, place: place)) { lease, context in
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
    static let clauses = accounts + admission + devices + presence + chunks + vms + leases + garbage

    static let accounts: [Clause<ClockedStore>] = [
        Clause("an invitation of the server makes one account; the same again is no error") { it async throws -> Void in
            let code = ClockedStore.hash("code")
            #expect(try await !it.store.hasAccounts())
            #expect(try await it.store.invite(code, to: nil, lifetime: .seconds(60)) == it.clock.now + .seconds(60))
            let laptop = try await it.found(with: code)
            _ = try await it.found(by: laptop, with: code)
            let other = ClockedStore.hash("other")
            #expect(await VMSyncStoreTests.code { _ = try await it.found(other, with: code) } == .unauthorized)
            #expect(try await it.store.hasAccounts())
            #expect(try await it.store.membership(of: laptop)?.account == ClockedStore.account)
            #expect(try await it.store.membership(of: .random()) == nil)
        },
        Clause("an invitation expires, and one that was never made does not work") { it async throws -> Void in
            let code = ClockedStore.hash("code")
            _ = try await it.store.invite(code, to: nil, lifetime: .seconds(60))
            it.clock.advance(by: .seconds(60))
            #expect(await VMSyncStoreTests.code { _ = try await it.found(with: code) } == .unauthorized)
            let other = ClockedStore.hash("other")
            #expect(await VMSyncStoreTests.code { _ = try await it.found(with: other) } == .unauthorized)
            #expect(try await !it.store.hasAccounts())
        },
        Clause("of many that make an account with one invitation, one does") { it async throws -> Void in
            let code = ClockedStore.hash("code")
            _ = try await it.store.invite(code, to: nil, lifetime: .seconds(60))
            let made = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<16 {
                    group.addTask { (try? await it.found(ClockedStore.hash("\(number)"), with: code)) != nil }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(made == 1)
        },
        Clause("the list of devices grows in order, and of many that add to it at once one does") {
            it async throws -> Void in
            _ = try await it.join("laptop")
            let desktop = try await it.join("desktop")
            let wrong = await code { try await it.append("late", .renew(recovery: ClockedStore.hash("r")), number: 1) }
            #expect(wrong == .outOfOrder)
            let added = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<16 {
                    let effect = RosterEffect.renew(recovery: ClockedStore.hash("\(number)"))
                    group.addTask { (try? await it.append("\(number)", effect, number: 2)) != nil }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(added == 1)
            let entries = try await it.store.roster(of: ClockedStore.account, from: 0)
            #expect(entries.count == 3 && entries.prefix(2) == [Array("found".utf8), Array("desktop".utf8)])
            #expect(try await it.store.roster(of: ClockedStore.account, from: 1) == Array(entries[1...]))
            #expect(try await it.store.membership(of: desktop)?.isMember == true)
        },
        Clause("a revoked device is no member and has no keys, and never becomes one again") {
            it async throws -> Void in
            _ = try await it.join("laptop")
            let lost = try await it.join("lost")
            let grant = StoredGrant(subject: "vm", generation: 1, recipient: "device \(lost)", content: [7])
            try await it.store.add([grant], of: ClockedStore.account)
            #expect(try await it.store.grants(for: grant.recipient, of: ClockedStore.account) == [[7]])
            let vm = try await it.create("work")
            _ = try await it.acquire(vm, by: lost)
            try await it.commit(it.offer(1), to: vm, by: lost)
            // It has saved more than whoever revokes it knows.
            #expect(await code { try await it.append("early", .revoke(lost, heads: [:])) } == .outOfOrder)
            try await it.append("revoke", .revoke(lost, heads: [vm: Sequence(rawValue: 1)]))
            #expect(try await it.store.vm(vm)?.lease.holder == nil)
            #expect(try await it.store.membership(of: lost)?.isMember == false)
            #expect(try await !it.store.devices(of: ClockedStore.account).map(\.id).contains(lost))
            #expect(try await it.store.grants(for: grant.recipient, of: ClockedStore.account).isEmpty)
            try await it.store.apply(it.application(of: lost), lifetime: .seconds(60))
            #expect(await code { try await it.append("again", .admit(lost, welcome: nil)) } == .alreadyExists)
        },
        Clause("a key that is granted again takes the place of the first") { it async throws -> Void in
            _ = try await it.join("laptop")
            func grant(_ generation: UInt32, _ content: UInt8) -> StoredGrant {
                StoredGrant(subject: "vm", generation: generation, recipient: "recovery", content: [content])
            }
            try await it.store.add([grant(1, 1), grant(2, 2)], of: ClockedStore.account)
            try await it.store.add([grant(1, 3)], of: ClockedStore.account)
            #expect(try await it.store.grants(for: "recovery", of: ClockedStore.account) == [[3], [2]])
            #expect(try await it.store.grants(for: "recovery", of: ClockedStore.hash("other")).isEmpty)
        },
        Clause("an account is found by its recovery key, the last one only") { it async throws -> Void in
            _ = try await it.join("laptop")
            let (first, second) = (
                ClockedStore.hash("recovery of \(ClockedStore.account)"), ClockedStore.hash("second")
            )
            #expect(try await it.store.account(recovery: first) == ClockedStore.account)
            let tablet = DeviceID.random()
            try await it.append("recover", .recover(tablet, recovery: second))
            #expect(try await it.store.account(recovery: first) == nil)
            #expect(try await it.store.account(recovery: second) == ClockedStore.account)
            #expect(try await it.store.membership(of: tablet)?.isMember == true)
        },
        Clause("the first server's keys are those of all") { it async throws -> Void in
            #expect(try await it.store.serverKeys(orKeep: [1]) == [1])
            #expect(try await it.store.serverKeys(orKeep: [2]) == [1])
        },
    ]

    static let admission: [Clause<ClockedStore>] = [
        Clause("a device that asks with a ticket is shown to the account, until it is let in") {
            it async throws -> Void in
            _ = try await it.join("laptop")
            let ticket = ClockedStore.hash("ticket")
            _ = try await it.store.invite(ticket, to: ClockedStore.account, lifetime: .seconds(60))
            let tablet = DeviceID.random()
            try await it.store.apply(it.application(of: tablet, ticket: ticket), lifetime: .seconds(60))
            let waiting = try await it.store.applications(to: ClockedStore.account)
            #expect(waiting == [it.application(of: tablet, ticket: ticket)])
            #expect(try await it.store.applications(to: ClockedStore.hash("other")).isEmpty)
            #expect(try await it.store.application(of: tablet)?.account == nil)
            try await it.append("tablet", .admit(tablet, welcome: [9]))
            #expect(try await it.store.applications(to: ClockedStore.account).isEmpty)
            let admitted = try await it.store.application(of: tablet)
            #expect(admitted?.account == ClockedStore.account && admitted?.welcome == [9])
            let second = await code {
                try await it.store.apply(it.application(of: .random(), ticket: ticket), lifetime: .seconds(60))
            }
            #expect(second == .unauthorized, "a ticket works once")
        },
        Clause("a device that was invited to one account isn't let into another") { it async throws -> Void in
            _ = try await it.join("laptop")
            let (code, other) = (ClockedStore.hash("code of other"), ClockedStore.hash("other"))
            _ = try await it.store.invite(code, to: nil, lifetime: .seconds(60))
            _ = try await it.found(other, with: code)
            let ticket = ClockedStore.hash("ticket")
            _ = try await it.store.invite(ticket, to: other, lifetime: .seconds(60))
            let tablet = DeviceID.random()
            try await it.store.apply(it.application(of: tablet, ticket: ticket), lifetime: .seconds(60))
            #expect(await it.refusal(toAdmit: tablet) == .notFound)
            #expect(try await it.store.membership(of: tablet) == nil)
        },
        Clause("an application is forgotten after its time, and one that nobody made can't be granted") {
            it async throws -> Void in
            _ = try await it.join("laptop")
            let tablet = DeviceID.random()
            try await it.store.apply(it.application(of: tablet), lifetime: .seconds(60))
            it.clock.advance(by: .seconds(60))
            #expect(try await it.store.application(of: tablet) == nil)
            #expect(await code { try await it.append("who", .admit(.random(), welcome: nil)) } == .notFound)
            let unknown = it.application(of: tablet, ticket: ClockedStore.hash("never made"))
            #expect(await code { try await it.store.apply(unknown, lifetime: .seconds(60)) } == .unauthorized)
        },
    ]

    static let devices: [Clause<ClockedStore>] = [
        Clause("devices are listed as they joined, with what they told and when they were seen") {
            it async throws -> Void in
            let laptop = try await it.join("laptop")
            let desktop = try await it.join("desktop")
            it.clock.advance(by: .seconds(5))
            try await it.store.arrived(desktop, at: .random())
            try await it.store.setProfile([1, 255], of: laptop)
            let devices = try await it.store.devices(of: ClockedStore.account)
            #expect(devices.map(\.id) == [laptop, desktop])
            #expect(devices.map(\.profile) == [[1, 255], nil])
            #expect(devices[1].lastSeen == devices[0].lastSeen + .seconds(5))
            #expect(await code { try await it.store.setProfile([1], of: .random()) } == .notFound)
            #expect(try await it.store.devices(of: ClockedStore.hash("other")).isEmpty)
        },
        Clause("a server is there from when it says so until it leaves, or says nothing for long") {
            it async throws -> Void in
            let (first, second) = (ServerRun.random(), ServerRun.random())
            try await it.store.serverArrived(first, url: "https://b:1")
            try await it.store.serverArrived(second, url: "https://a:1")
            #expect(try await it.store.servers() == ["https://a:1", "https://b:1"])
            try await it.store.serverLeft(second)
            #expect(try await it.store.servers() == ["https://b:1"])
            it.clock.advance(by: SQLMetadataStore.presenceMax)
            #expect(try await it.store.servers().isEmpty)
        },
    ]

    static let presence: [Clause<ClockedStore>] = [
        Clause("a device is connected from when it arrives until it leaves the last server") {
            it async throws -> Void in
            let laptop = try await it.join("laptop")
            let (here, there) = (ServerRun.random(), ServerRun.random())
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [false])
            #expect(try await it.store.arrived(laptop, at: here))
            #expect(try await !it.store.arrived(laptop, at: here))
            #expect(try await it.store.arrived(laptop, at: there))
            try await it.store.left(laptop, from: here)
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [true])
            try await it.store.left(laptop, from: there)
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [false])
        },
        Clause("a device of a server that died is not connected for long") { it async throws -> Void in
            let laptop = try await it.join("laptop")
            let server = ServerRun.random()
            try await it.store.arrived(laptop, at: server)
            it.clock.advance(by: SQLMetadataStore.presenceMax)
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [false])
            try await it.store.arrived(laptop, at: server)
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [true])
            try await it.store.allLeft()
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [false])
        },
    ]

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
            let found = try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 1))
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
            let changed = try await it.store.change(vm, commit: nil) { lease, _ in
                try lease.answer(.report(["pause": 1.5]), to: id, by: laptop)
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
            let third = try await it.store.checkpoint(of: vm, at: Sequence(rawValue: 3))
            #expect(third?.record == records[2] && third?.blobs.map(\.id) == [pack])
            #expect(try await it.store.checkpoints(of: vm, after: .base, limit: 100) == records)
            let two = Sequence(rawValue: 2)
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
