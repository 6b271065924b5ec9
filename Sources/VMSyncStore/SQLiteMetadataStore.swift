import GRDB
import VMSyncCore

/// Metadata in one SQLite file, in WAL mode, every commit synced to disk before it is acknowledged.
package final class SQLiteMetadataStore: MetadataStore {
    let database: DatabasePool
    let clock: @Sendable () -> Timestamp

    /// How long a transaction waits for another process, such as `vmsync server invite`, to finish its own. Seconds.
    private static let busyTimeout = 5.0

    /// Opens or makes the database at `path`, and brings its schema up to date. Blocks for some milliseconds.
    /// - Parameter clock: what `created`, expiry and the like go by; replaced in tests only.
    package init(path: String, clock: @escaping @Sendable () -> Timestamp = { .now }) throws(VMSyncError) {
        self.clock = clock
        do {
            var configuration = Configuration()
            configuration.busyMode = .timeout(Self.busyTimeout)
            database = try DatabasePool(path: path, configuration: configuration)
            try Self.makeDurable(database)
            try Self.migrator.migrate(database)
        } catch {
            throw Self.translated(error, during: "opening \(path)")
        }
    }

    /// Whether there is a database at `path`. Blocks.
    package static func exists(at path: String) -> Bool { (try? FileSystemCalls.size(of: path)) != nil }

    /// GRDB leaves a pool at `synchronous=NORMAL`, under which a commit can vanish with the power.
    private static func makeDurable(_ database: DatabasePool) throws {
        let level = try database.writeWithoutTransaction { db in
            try db.execute(sql: "PRAGMA synchronous = FULL")
            return try Int.fetchOne(db, sql: "PRAGMA synchronous")
        }
        guard level == 2 else { throw VMSyncError(.bug, "SQLite did not accept synchronous=FULL") }
    }

    /// Closes the file. Later calls fail.
    package func close() throws(VMSyncError) {
        do { try database.close() } catch { throw Self.translated(error, during: "closing the database") }
    }

    func read<Answer: Sendable>(_ body: @Sendable (Database) throws -> Answer) async throws -> Answer {
        do { return try await database.read(body) } catch { throw Self.translated(error) }
    }

    func write<Answer: Sendable>(_ body: @Sendable (Database) throws -> Answer) async throws -> Answer {
        do { return try await database.write(body) } catch { throw Self.translated(error) }
    }

    private static func translated(_ error: any Error, during action: String? = nil) -> VMSyncError {
        guard let failure = error as? DatabaseError else { return VMSyncError(error, during: action) }
        let code: VMSyncError.Code =
            switch failure.resultCode {
            case .SQLITE_FULL: .noSpace
            case .SQLITE_CORRUPT, .SQLITE_NOTADB: .corrupt
            case .SQLITE_BUSY, .SQLITE_LOCKED: .unavailable
            default: .io
            }
        return VMSyncError(code, "SQLite: \(failure.message ?? "\(failure.resultCode)")").during(action)
    }
}

extension VMSyncError {
    fileprivate func during(_ action: String?) -> VMSyncError { action.map { during($0) } ?? self }
}
