import NIOPosix
import VMSyncCore

/// Metadata in a database: one SQLite file of one server, or a PostgreSQL database that several servers share.
///
/// All statements are the same for both; where the two differ is in `SQLEngine` and `SQLDialect`.
package final class SQLMetadataStore: MetadataStore {
    let engine: any SQLEngine

    private init(_ engine: any SQLEngine) async throws {
        self.engine = engine
        do {
            try await SQLSchema.migrate(engine)
        } catch {
            try? await engine.close()
            throw VMSyncError(error, during: "opening the database")
        }
    }

    /// Opens or makes the SQLite database at `path`.
    /// - Parameter clock: what `created`, expiry and the like go by; replaced in tests only.
    package static func sqlite(
        path: String, clock: @escaping @Sendable () -> Timestamp = { .now }
    ) async throws -> SQLMetadataStore {
        let engine = try await NIOThreadPool.singleton.runIfActive { try SQLiteEngine(path: path, clock: clock) }
        return try await SQLMetadataStore(engine)
    }

    /// Opens a database on a PostgreSQL server, and makes the tables there if it is empty.
    /// - Parameters:
    ///   - url: as libpq takes it, `postgres://user@host/database`.
    ///   - clock: instead of the database's own; for tests only.
    package static func postgreSQL(
        url: String, clock: (@Sendable () -> Timestamp)? = nil
    ) async throws -> SQLMetadataStore {
        try await SQLMetadataStore(PostgreSQLEngine(url: url, clock: clock))
    }

    /// Whether there is an SQLite database at `path`. Blocks.
    package static func exists(at path: String) -> Bool { (try? FileSystemCalls.size(of: path)) != nil }

    /// Closes the database. Later calls fail.
    package func close() async throws { try await engine.close() }

    // MARK: What other processes did

    package func changes() -> AsyncStream<StoreChange> {
        let announcements = engine.announcements()
        let (stream, continuation) = AsyncStream.makeStream(of: StoreChange.self)
        let task = Task {
            for await announcement in announcements {
                switch announcement {
                case .gap: continuation.yield(.everything)
                case .topic(devicesTopic): continuation.yield(.devices)
                case .topic(serversTopic): continuation.yield(.servers)
                case .topic(let text): if let vm = VMID(rawValue: text) { continuation.yield(.vm(vm)) }
                }
            }
            continuation.finish()
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }
}

/// No id of a VM, for those have more letters.
private let devicesTopic = "devices"
private let serversTopic = "servers"

extension SQLTransaction {
    func announce(_ vm: VMID) throws { try announce(vm.rawValue) }

    func announceDevices() throws { try announce(devicesTopic) }

    func announceServers() throws { try announce(serversTopic) }
}
