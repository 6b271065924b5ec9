import Foundation
import VMSyncCore
import VMSyncPolicy

extension SQLMetadataStore {
    package func create(_ vm: NewVM) async throws -> StoredVM {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            if let present = try Self.load(vm.id, at: now, transaction) {
                guard present.account == vm.account, present.description == vm.description else {
                    throw VMSyncError(.alreadyExists, "there is already another VM \(vm.id)")
                }
                return present
            }
            try transaction.run(
                "INSERT INTO vm (id, account, description, created, revision, epoch) VALUES (?, ?, ?, ?, 1, 0)",
                [.init(vm.id), .init(vm.account), .bytes(vm.description), .init(now)])
            for chunk in Set(vm.chunks) {
                _ = try Self.existing(chunk, transaction)
                try transaction.run("INSERT INTO vm_chunk (vm, hash) VALUES (?, ?)", [.init(vm.id), .init(chunk)])
            }
            try transaction.announce(vm.id)
            return StoredVM(
                id: vm.id, account: vm.account, description: vm.description, created: now, revision: 1,
                lease: LeaseState(vm: vm.id), policy: nil, standings: [])
        }
    }

    /// A chunk that is to be named by something that needs it.
    static func existing(_ hash: ContentHash, _ transaction: any SQLTransaction) throws -> StoredChunk {
        guard let chunk = try chunk(hash, transaction) else {
            throw VMSyncError(
                .wrongState, "chunk \(hash) is not on the server", hint: "send the missing chunks first")
        }
        return chunk
    }

    package func vm(_ id: VMID) async throws -> StoredVM? {
        try await engine.transaction(.read) { try Self.load(id, at: try $0.now(), $0) }
    }

    package func vms(of account: ContentHash) async throws -> [StoredVM] {
        try await engine.transaction(.read) { transaction in
            let now = try transaction.now()
            return try transaction.run("SELECT * FROM vm WHERE account = ? ORDER BY created, id", [.init(account)]).map
            {
                try Self.vm($0, at: now, transaction)
            }
        }
    }

    package func chunks(of vm: VMID) async throws -> [ContentHash] {
        try await engine.transaction(.read) { transaction in
            try transaction.run("SELECT hash FROM vm_chunk WHERE vm = ? ORDER BY hash", [.init(vm)]).map {
                try $0.checked("hash")
            }
        }
    }

    package func setPolicy(_ policy: [UInt8]?, of vm: VMID) async throws -> StoredVM {
        try await touch(vm) { transaction in
            try transaction.run(
                "UPDATE vm SET policy = ? WHERE id = ?", [policy.map { .bytes($0) } ?? .null, .init(vm)])
        }
    }

    package func setStanding(
        held: Sequence, note: [UInt8]?, of vm: VMID, by device: DeviceID
    ) async throws -> StoredVM {
        try await touch(vm) { transaction in
            try transaction.run(
                """
                INSERT INTO standing (vm, device, held, note, told) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (vm, device) DO UPDATE SET held = excluded.held, note = excluded.note, told = excluded.told
                """,
                [
                    .init(vm), .init(device), try .init(held), note.map { .bytes($0) } ?? .null,
                    .init(try transaction.now()),
                ])
        }
    }

    /// Changes something of a VM besides its lease.
    private func touch(
        _ vm: VMID, _ change: @escaping @Sendable (any SQLTransaction) throws -> Void
    ) async throws -> StoredVM {
        try await engine.transaction(.write) { transaction in
            let updated = try transaction.run(
                "UPDATE vm SET revision = revision + 1 WHERE id = ? RETURNING id", [.init(vm)])
            guard !updated.isEmpty else { throw Self.noVM(vm) }
            try change(transaction)
            guard let changed = try Self.load(vm, at: try transaction.now(), transaction) else { throw Self.noVM(vm) }
            try transaction.announce(vm)
            return changed
        }
    }

    package func remove(
        _ vm: VMID, check: @escaping @Sendable (LeaseState) throws -> Void
    ) async throws -> [BlobID] {
        try await engine.transaction(.write) { transaction in
            guard let present = try Self.load(vm, at: try transaction.now(), transaction) else { throw Self.noVM(vm) }
            try check(present.lease)
            let packs: [BlobID] = try transaction.run(
                "SELECT blob FROM pack WHERE vm = ? AND blob IS NOT NULL", [.init(vm)]
            ).map { try $0.checked("blob") }
            // Checkpoints and switches go with it, and it no longer names its chunks, by the foreign keys.
            try transaction.run("DELETE FROM vm WHERE id = ?", [.init(vm)])
            try transaction.announce(vm)
            return packs
        }
    }

    static func noVM(_ id: VMID) -> VMSyncError { VMSyncError(.notFound, "there is no VM \(id)", hint: "vmsync list") }

    /// The VM with its lease settled at `now`.
    static func load(_ id: VMID, at now: Timestamp, _ transaction: any SQLTransaction) throws -> StoredVM? {
        try transaction.first("SELECT * FROM vm WHERE id = ?", [.init(id)]).map { try vm($0, at: now, transaction) }
    }

    private static func vm(_ row: SQLRow, at now: Timestamp, _ transaction: any SQLTransaction) throws -> StoredVM {
        let id: VMID = try row.checked("id")
        var lease = LeaseState(
            vm: id, epoch: Epoch(rawValue: try row.unsigned("epoch")), holder: try row.checkedIfPresent("holder"),
            head: try head(of: id, row, transaction), lastSwitch: try lastSwitch(row, transaction),
            release: try row.bytesIfPresent("release").map { Data($0) })
        lease.settle(at: now)
        return StoredVM(
            id: id, account: try row.checked("account"), description: try row.bytes("description"),
            created: try row.timestamp("created"), revision: try row.unsigned("revision"), lease: lease,
            policy: try row.bytesIfPresent("policy"), standings: try standings(of: id, transaction))
    }

    private static func standings(
        of vm: VMID, _ transaction: any SQLTransaction
    ) throws -> [StoredStanding] {
        try transaction.run("SELECT device, held, note, told FROM standing WHERE vm = ? ORDER BY device", [.init(vm)])
            .map { row in
                StoredStanding(
                    device: try row.checked("device"), held: Sequence(rawValue: try row.unsigned("held")),
                    note: try row.bytesIfPresent("note"), told: try row.timestamp("told"))
            }
    }

    private static func head(
        of vm: VMID, _ row: SQLRow, _ transaction: any SQLTransaction
    ) throws -> CheckpointRecord? {
        guard !row.isNull("head") else { return nil }
        return try checkpointRow(of: vm, at: Sequence(rawValue: try row.unsigned("head")), transaction)
            .map(CheckpointRecord.init(row:))
    }

    private static func lastSwitch(_ row: SQLRow, _ transaction: any SQLTransaction) throws -> SwitchRecord? {
        guard let id = try row.textIfPresent("switch") else { return nil }
        return try transaction.first("SELECT record FROM switch WHERE id = ?", [.text(id)])
            .map { try SwitchRecord(json: try $0.text("record")) }
    }
}
