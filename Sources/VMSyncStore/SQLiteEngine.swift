import Foundation
import GRDB
import Synchronization
import VMSyncCore

/// One SQLite file, in WAL mode, every commit synced to disk before it is acknowledged.
final class SQLiteEngine: SQLEngine {
    private let database: DatabasePool
    private let clock: @Sendable () -> Timestamp
    private let listeners = Mutex<[AsyncStream<SQLAnnouncement>.Continuation]>([])

    /// How long a transaction waits for another process, such as `vmsync server invite`, to finish its own. Seconds.
    private static let busyTimeout = 5.0

    var dialect: SQLDialect { .sqlite }

    /// Opens or makes the database at `path`. Blocks for some milliseconds.
    init(path: String, clock: @escaping @Sendable () -> Timestamp) throws(VMSyncError) {
        self.clock = clock
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(Self.busyTimeout)
            database = try DatabasePool(path: path, configuration: configuration)
            try Self.makeDurable(database)
        } catch {
            throw Self.translated(error).during("opening \(path)")
        }
    }

    /// GRDB leaves a pool at `synchronous=NORMAL`, under which a commit can vanish with the power.
    private static func makeDurable(_ database: DatabasePool) throws {
        let level = try database.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA synchronous = FULL")
            return try Int.fetchOne(db, sql: "PRAGMA synchronous")
        }
        guard level == 2 else { throw VMSyncError(.bug, "SQLite did not accept synchronous=FULL") }
    }

    func transaction<Answer: Sendable>(
        _ access: SQLAccess, _ body: @escaping @Sendable (any SQLTransaction) throws -> Answer
    ) async throws -> Answer {
        do {
            switch access {
            case .read:
                return try await database.read { [clock] in try body(Transaction(database: $0, clock: clock)) }
            case .write:
                return try await database.write { [clock] in try body(Transaction(database: $0, clock: clock)) }
            }
        } catch {
            throw Self.translated(error)
        }
    }

    /// There are none: one server owns the file, and who invites a device beside it tells nobody.
    func announcements() -> AsyncStream<SQLAnnouncement> {
        let (stream, continuation) = AsyncStream.makeStream(of: SQLAnnouncement.self)
        listeners.withLock { $0.append(continuation) }
        return stream
    }

    func close() async throws {
        for listener in listeners.withLock({ $0 }) { listener.finish() }
        do { try database.close() } catch { throw Self.translated(error).during("closing the database") }
    }

    private static func translated(_ error: any Error) -> VMSyncError {
        guard let failure = error as? DatabaseError else { return VMSyncError(error) }
        let code: VMSyncError.Code =
            switch failure.resultCode {
            case .SQLITE_FULL: .noSpace
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: .corrupt
            case .SQLITE_BUSY, .SQLITE_LOCKED: .unavailable
            default: .io
            }
        return VMSyncError(code, "SQLite: \(failure.message ?? "\(failure.resultCode)")")
    }

    private struct Transaction: SQLTransaction {
        let database: Database
        let clock: @Sendable () -> Timestamp

        func now() -> Timestamp { clock() }

        func run(_ sql: String, _ values: [SQLValue]) throws -> [SQLRow] {
            let statement = try database.cachedStatement(sql: sql)
            statement.arguments = StatementArguments(values.map(\.databaseValue))
            return try Row.fetchAll(statement).map { row in
                SQLRow { column in row.hasColumn(column) ? SQLValue(row[column] as DatabaseValue) : nil }
            }
        }

        func announce(_ topic: String) {}
    }
}

extension SQLValue {
    fileprivate var databaseValue: DatabaseValue {
        switch self {
        case .null: .null
        case .integer(let number): number.databaseValue
        case .text(let text): text.databaseValue
        case .bytes(let bytes): Data(bytes).databaseValue
        }
    }

    fileprivate init?(_ value: DatabaseValue) {
        switch value.storage {
        case .null: self = .null
        case .int64(let number): self = .integer(number)
        case .string(let text): self = .text(text)
        case .blob(let data): self = .bytes([UInt8](data))
        case .double: return nil
        }
    }
}
