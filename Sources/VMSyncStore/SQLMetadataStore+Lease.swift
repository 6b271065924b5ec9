import Foundation
import VMSyncCore
import VMSyncPolicy

extension SQLMetadataStore {
    package func change<Answer: Sendable>(
        _ vm: VMID, commit: CommitContent?,
        decide: @escaping @Sendable (inout LeaseState, DecisionContext) throws -> Answer
    ) async throws -> (answer: Answer, vm: StoredVM) {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            guard let before = try Self.load(vm, at: now, transaction) else { throw Self.noVM(vm) }
            let known = try commit.flatMap {
                try Self.checkpointRow(of: vm, at: $0.sequence, transaction).map(CheckpointRecord.init(row:))
            }
            var lease = before.lease
            let answer = try decide(&lease, DecisionContext(now: now, known: known))
            return (answer, try Self.save(lease, over: before, commit?.place, transaction))
        }
    }

    /// Writes what changed, and gives the VM as it is then.
    static func save(
        _ lease: LeaseState, over before: StoredVM, _ place: PackPlace?, _ transaction: any SQLTransaction
    ) throws -> StoredVM {
        guard lease != before.lease else { return before }
        if let head = lease.head, head != before.lease.head {
            guard let place else { throw VMSyncError(.bug, "a new head without a pack") }
            let parent = before.lease.head?.sequence ?? .base
            try insert(head, of: lease.vm, after: parent, place, transaction)
        }
        if let record = lease.lastSwitch, record != before.lease.lastSwitch { try upsert(record, transaction) }
        let revision = before.revision + 1
        try transaction.run(
            "UPDATE vm SET revision = ?, epoch = ?, holder = ?, head = ?, switch = ?, release = ? WHERE id = ?",
            [
                try .init(revision), try .init(lease.epoch), .init(lease.holder),
                try lease.head.map { try .init($0.sequence) } ?? .null, .init(lease.lastSwitch?.id),
                lease.release.map { .bytes([UInt8]($0)) } ?? .null, .init(lease.vm),
            ])
        try transaction.announce(lease.vm)
        return StoredVM(
            id: before.id, account: before.account, description: before.description, created: before.created,
            revision: revision, lease: lease, policy: before.policy, standings: before.standings)
    }

    private static func insert(
        _ record: CheckpointRecord, of vm: VMID, after parent: Sequence, _ place: PackPlace,
        _ transaction: any SQLTransaction
    ) throws {
        if record.basis != parent { try checkListed(record.basis, of: vm, transaction) }
        try transaction.run(
            """
            INSERT INTO checkpoint
            (vm, sequence, parent, basis, epoch, device, kind, size, checksum, statement, created, forgotten)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)
            """,
            [
                .init(vm), try .init(record.sequence), try .init(parent), try .init(record.basis),
                try .init(record.epoch), .init(record.device), .init(record.kind), try .init(record.size),
                .init(record.checksum), .bytes([UInt8](record.statement)), .init(record.created),
            ])
        let pack = NewPack(
            id: PackID(record.basis, record.sequence), size: record.size, checksum: record.checksum, link: nil,
            place: place)
        try insert(pack, of: vm, at: record.created, transaction)
    }

    private static func upsert(_ record: SwitchRecord, _ transaction: any SQLTransaction) throws {
        try transaction.run(
            """
            INSERT INTO switch (id, vm, record) VALUES (?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET record = excluded.record
            """, [.init(record.id), .init(record.vm), .text(try record.json())])
    }

    package func checkpoints(of vm: VMID, after sequence: Sequence, limit: Int) async throws -> [CheckpointRecord] {
        let first = try SQLValue(sequence)
        return try await engine.transaction(.read) { transaction in
            try transaction.run(
                """
                SELECT \(Self.recordColumns) FROM checkpoint WHERE vm = ? AND sequence > ? ORDER BY sequence LIMIT ?
                """,
                [.init(vm), first, .integer(Int64(limit))]
            ).map(CheckpointRecord.init(row:))
        }
    }

    package func checkpoint(of vm: VMID, at sequence: Sequence) async throws -> CheckpointRecord? {
        try await engine.transaction(.read) { transaction in
            try Self.checkpointRow(of: vm, at: sequence, transaction).map(CheckpointRecord.init(row:))
        }
    }

    static func checkpointRow(
        of vm: VMID, at sequence: Sequence, _ transaction: any SQLTransaction
    ) throws -> SQLRow? {
        try transaction.first(
            "SELECT \(recordColumns) FROM checkpoint WHERE vm = ? AND sequence = ?", [.init(vm), try .init(sequence)])
    }

    /// All that a record has, and not the picture, which is far larger.
    private static let recordColumns =
        "sequence, basis, epoch, device, kind, size, checksum, statement, created, forgotten"
}

extension CheckpointRecord {
    init(row: SQLRow) throws {
        self.init(
            sequence: Sequence(rawValue: try row.unsigned("sequence")),
            basis: Sequence(rawValue: try row.unsigned("basis")),
            epoch: Epoch(rawValue: try row.unsigned("epoch")),
            device: try row.checked("device"), kind: try row.checked("kind"), size: try row.unsigned("size"),
            checksum: try row.checked("checksum"), statement: Data(try row.bytes("statement")),
            created: try row.timestamp("created"))
    }
}

extension SwitchRecord {
    init(json: String) throws {
        do {
            self = try JSONDecoder().decode(SwitchRecord.self, from: Data(json.utf8))
        } catch {
            throw SQLRow.damaged("switch")
        }
    }

    func json() throws -> String { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }
}
