import GRDB
import VMSyncCore
import VMSyncPolicy

extension SQLiteMetadataStore {
    package func change<Answer: Sendable>(
        _ vm: VMID, commit: CommitBlob?, decide: @Sendable (inout LeaseState, DecisionContext) throws -> Answer
    ) async throws -> (answer: Answer, vm: StoredVM) {
        try await write { [clock] db in
            let now = clock()
            guard let before = try Self.load(vm, at: now, db) else { throw Self.noVM(vm) }
            let known = try commit.flatMap { try Self.checkpoint(of: vm, at: $0.sequence, db)?.record }
            var lease = before.lease
            let answer = try decide(&lease, DecisionContext(now: now, known: known))
            return (answer, try Self.save(lease, over: before, pack: commit?.pack, db))
        }
    }

    /// Writes what changed, and gives the VM as it is then.
    private static func save(
        _ lease: LeaseState, over before: StoredVM, pack: PackID?, _ db: Database
    ) throws -> StoredVM {
        guard lease != before.lease else { return before }
        if let head = lease.head, head != before.lease.head {
            guard let pack else { throw VMSyncError(.bug, "a new head without a pack") }
            try insert(head, of: lease.vm, pack: pack, db)
        }
        if let record = lease.lastSwitch, record != before.lease.lastSwitch { try upsert(record, db) }
        let revision = before.revision + 1
        try db.execute(
            sql: "UPDATE vm SET revision = ?, epoch = ?, holder = ?, head = ?, switch = ? WHERE id = ?",
            arguments: [
                try integer(revision), try integer(lease.epoch.rawValue), lease.holder?.rawValue,
                try lease.head.map { try integer($0.sequence.rawValue) }, lease.lastSwitch?.id.rawValue,
                lease.vm.rawValue,
            ])
        return StoredVM(
            id: before.id, name: before.name, definition: before.definition, created: before.created,
            revision: revision, lease: lease)
    }

    private static func insert(_ record: CheckpointRecord, of vm: VMID, pack: PackID, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO checkpoint (vm, sequence, epoch, device, kind, size, checksum, digest, created, pack)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                vm.rawValue, try integer(record.sequence.rawValue), try integer(record.epoch.rawValue),
                record.device.rawValue, record.kind.rawValue, try integer(record.size), record.checksum.rawValue,
                record.digest, record.created.rawValue, pack.rawValue,
            ])
    }

    private static func upsert(_ record: SwitchRecord, _ db: Database) throws {
        try db.execute(
            sql: """
                INSERT INTO switch (id, vm, record) VALUES (?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET record = excluded.record
                """,
            arguments: [record.id.rawValue, record.vm.rawValue, try record.json()])
    }

    package func checkpoints(of vm: VMID, after sequence: Sequence, limit: Int) async throws -> [CheckpointRecord] {
        let first = try integer(sequence.rawValue)
        return try await read { db in
            try Row.fetchAll(
                db, sql: "SELECT * FROM checkpoint WHERE vm = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                arguments: [vm.rawValue, first, limit]
            ).map(CheckpointRecord.init(row:))
        }
    }

    package func checkpoint(of vm: VMID, at sequence: Sequence) async throws -> StoredCheckpoint? {
        try await read { db in try Self.checkpoint(of: vm, at: sequence, db) }
    }

    static func checkpoint(of vm: VMID, at sequence: Sequence, _ db: Database) throws -> StoredCheckpoint? {
        try Row.fetchOne(
            db, sql: "SELECT * FROM checkpoint WHERE vm = ? AND sequence = ?",
            arguments: [vm.rawValue, try integer(sequence.rawValue)]
        ).map { StoredCheckpoint(record: try CheckpointRecord(row: $0), pack: try $0.checked("pack")) }
    }
}
