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
    static let clauses = accounts + admission + devices + presence + chunks + vms + leases + history + shares + garbage
}
