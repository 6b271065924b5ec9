import Foundation
import GRDB
import VMSyncCore
import VMSyncPolicy

extension SQLiteMetadataStore {
    package func create(_ vm: NewVM) async throws -> StoredVM {
        try await write { [clock] db in
            let now = clock()
            if let present = try Self.load(vm.id, at: now, db) {
                guard present.name == vm.name, present.definition == vm.definition else {
                    throw VMSyncError(.alreadyExists, "there is already another VM \(vm.id)")
                }
                return present
            }
            try Self.checkVMName(vm.name, db)
            try db.execute(
                sql: "INSERT INTO vm (id, name, definition, created, revision, epoch) VALUES (?, ?, ?, ?, 1, 0)",
                arguments: [vm.id.rawValue, vm.name, Data(vm.definition), now.rawValue])
            let insert = try db.makeStatement(sql: "INSERT OR IGNORE INTO vm_chunk (vm, hash) VALUES (?, ?)")
            for chunk in vm.chunks { try insert.execute(arguments: [vm.id.rawValue, chunk.rawValue]) }
            return StoredVM(
                id: vm.id, name: vm.name, definition: vm.definition, created: now, revision: 1,
                lease: LeaseState(vm: vm.id))
        }
    }

    private static func checkVMName(_ name: String, _ db: Database) throws {
        let taken = try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM vm WHERE name = ?)", arguments: [name])
        guard taken != true else {
            throw VMSyncError(.alreadyExists, "there is already a VM \"\(name)\"", hint: "choose another name")
        }
    }

    package func vm(_ id: VMID) async throws -> StoredVM? {
        try await read { [clock] db in try Self.load(id, at: clock(), db) }
    }

    package func vms() async throws -> [StoredVM] {
        try await read { [clock] db in
            let now = clock()
            return try Row.fetchAll(db, sql: "SELECT * FROM vm ORDER BY name").map { try Self.vm($0, at: now, db) }
        }
    }

    package func chunks(of vm: VMID) async throws -> [ContentHash] {
        try await read { db in
            try Row.fetchAll(db, sql: "SELECT hash FROM vm_chunk WHERE vm = ? ORDER BY hash", arguments: [vm.rawValue])
                .map { try $0.checked("hash") }
        }
    }

    package func remove(_ vm: VMID, check: @Sendable (LeaseState) throws -> Void) async throws -> [BlobKey] {
        try await write { [clock] db in
            guard let present = try Self.load(vm, at: clock(), db) else { throw Self.noVM(vm) }
            try check(present.lease)
            let packs = try Self.packs(where: "WHERE vm = ?", [vm.rawValue], db)
            // Checkpoints, chunks and switches go with it, by their foreign keys.
            try db.execute(sql: "DELETE FROM vm WHERE id = ?", arguments: [vm.rawValue])
            return packs
        }
    }

    package func packs() async throws -> Set<BlobKey> {
        try await read { db in Set(try Self.packs(where: "", [], db)) }
    }

    private static func packs(
        where condition: String, _ arguments: StatementArguments, _ db: Database
    ) throws -> [BlobKey] {
        try Row.fetchAll(db, sql: "SELECT vm, pack FROM checkpoint \(condition)", arguments: arguments)
            .map { .pack(try $0.checked("pack"), of: try $0.checked("vm")) }
    }

    static func noVM(_ id: VMID) -> VMSyncError { VMSyncError(.notFound, "there is no VM \(id)", hint: "vmsync list") }

    /// The VM with its lease settled at `now`.
    static func load(_ id: VMID, at now: Timestamp, _ db: Database) throws -> StoredVM? {
        try Row.fetchOne(db, sql: "SELECT * FROM vm WHERE id = ?", arguments: [id.rawValue])
            .map { try vm($0, at: now, db) }
    }

    private static func vm(_ row: Row, at now: Timestamp, _ db: Database) throws -> StoredVM {
        let id: VMID = try row.checked("id")
        let definition: Data = row["definition"]
        var lease = LeaseState(
            vm: id, epoch: Epoch(rawValue: try row.unsigned("epoch")), holder: try row.checkedIfPresent("holder"),
            head: try head(of: id, row, db), lastSwitch: try lastSwitch(row, db))
        lease.settle(at: now)
        return StoredVM(
            id: id, name: row["name"], definition: [UInt8](definition), created: row.timestamp("created"),
            revision: try row.unsigned("revision"), lease: lease)
    }

    private static func head(of vm: VMID, _ row: Row, _ db: Database) throws -> CheckpointRecord? {
        let sequence: Int64? = row["head"]
        guard let sequence else { return nil }
        return try checkpoint(of: vm, at: Sequence(rawValue: UInt64(clamping: sequence)), db)?.record
    }

    private static func lastSwitch(_ row: Row, _ db: Database) throws -> SwitchRecord? {
        let id: String? = row["switch"]
        guard let id else { return nil }
        return try String.fetchOne(db, sql: "SELECT record FROM switch WHERE id = ?", arguments: [id])
            .map(SwitchRecord.init(json:))
    }
}
