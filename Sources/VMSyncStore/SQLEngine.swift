import VMSyncCore

/// A database that keeps metadata. What is said to it is SQL that SQLite and PostgreSQL understand alike.
protocol SQLEngine: Sendable {
    var dialect: SQLDialect { get }

    /// Runs `body` in a transaction, and commits unless it throws. It is as if no other ran meanwhile, and durable when
    /// this returns. `body` may be run more than once, so it has no effects but those of its statements.
    /// - Throws: `VMSyncError`.
    func transaction<Answer: Sendable>(
        _ access: SQLAccess, _ body: @escaping @Sendable (any SQLTransaction) throws -> Answer
    ) async throws -> Answer

    /// What transactions of other processes announce from now on. Ends when the engine is closed.
    func announcements() -> AsyncStream<SQLAnnouncement>

    func close() async throws
}

enum SQLAccess: Sendable {
    case read
    case write
}

/// What one hears of the transactions of other processes.
enum SQLAnnouncement: Sendable, Hashable {
    case topic(String)
    /// Some may have been missed.
    case gap
}

/// A transaction that runs; good only inside the body that was given it.
protocol SQLTransaction {
    /// The database's time.
    func now() throws -> Timestamp

    /// One statement, with a `?` for each of `values`.
    @discardableResult
    func run(_ sql: String, _ values: [SQLValue]) throws -> [SQLRow]

    /// Tells `topic` to other processes that listen, once the transaction is committed.
    func announce(_ topic: String) throws
}

extension SQLTransaction {
    /// One statement without values.
    @discardableResult
    func run(_ sql: String) throws -> [SQLRow] { try run(sql, []) }

    /// The first row of the answer.
    func first(_ sql: String, _ values: [SQLValue] = []) throws -> SQLRow? { try run(sql, values).first }
}

/// Where the two kinds of database differ.
enum SQLDialect: Sendable {
    case sqlite
    case postgreSQL
}
