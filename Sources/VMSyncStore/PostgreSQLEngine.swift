import PostgreSQL
import Synchronization
import VMSyncCore

/// A database on a PostgreSQL server, which several sync servers may share. Time is the database's.
final class PostgreSQLEngine: SQLEngine {
    private let pool: PostgreSQLPool
    /// Replaced in tests only; else the database is asked.
    private let clock: (@Sendable () -> Timestamp)?
    private let listeners = Mutex<[PostgreSQLNotifications]>([])
    /// By which what this process has announced is told from what others have.
    private let origin = Identifier.random()

    /// What everything is announced on, before the schema's name; one schema holds one repository.
    private static let channel = "vmsync"
    private static let advice = "check --metadata, and that PostgreSQL runs there"

    var dialect: SQLDialect { .postgreSQL }

    /// Connects to nothing yet.
    init(url: String, clock: (@Sendable () -> Timestamp)?) {
        pool = PostgreSQLPool(url: url)
        self.clock = clock
    }

    func transaction<Answer: Sendable>(
        _ access: SQLAccess, _ body: @escaping @Sendable (any SQLTransaction) throws -> Answer
    ) async throws -> Answer {
        do {
            return try await pool.transaction(readOnly: access == .read) { [clock, origin] in
                try body(Transaction(transaction: $0, clock: clock, origin: origin))
            }
        } catch let error as PostgreSQLError {
            throw Self.translated(error)
        }
    }

    func announcements() -> AsyncStream<SQLAnnouncement> {
        let listener = PostgreSQLNotifications(url: pool.url, prefix: Self.channel)
        listeners.withLock { $0.append(listener) }
        return listener.news.announcements(besidesThoseOf: origin)
    }

    func close() async throws {
        for listener in listeners.withLock({ $0 }) { try await listener.stop() }
        try await pool.close()
    }

    /// Classes of SQLSTATE are those of appendix A of PostgreSQL's manual.
    private static func translated(_ error: PostgreSQLError) -> VMSyncError {
        switch error.kind {
        case .lost: VMSyncError(.unavailable, "PostgreSQL does not answer: \(error.message)", hint: advice)
        // Who asked repeats what it asked: it gets the same answer if this had happened.
        case .outcomeUnknown: VMSyncError(.unavailable, "PostgreSQL broke off: \(error.message)", hint: advice)
        case .value: VMSyncError(.invalidInput, error.message)
        case .refused(let state):
            switch state.prefix(2) {
            case "53": VMSyncError(state == "53100" ? .noSpace : .unavailable, "PostgreSQL: \(error)")
            case "57", "58", "40", "08": VMSyncError(.unavailable, "PostgreSQL: \(error)")
            case "XX": VMSyncError(.corrupt, "PostgreSQL: \(error)")
            default: VMSyncError(.io, "PostgreSQL: \(error)")
            }
        }
    }

    private struct Transaction: SQLTransaction {
        let transaction: PostgreSQLTransaction
        let clock: (@Sendable () -> Timestamp)?
        let origin: String

        func now() throws -> Timestamp {
            if let clock { return clock() }
            let row = try transaction.run("SELECT (extract(epoch FROM now()) * 1000)::bigint AS now").first
            guard case .integer(let milliseconds) = row?["now"] else { throw SQLRow.damaged("time") }
            return Timestamp(rawValue: milliseconds)
        }

        func run(_ sql: String, _ values: [SQLValue]) throws -> [SQLRow] {
            try transaction.run(Self.numbered(sql), values.map(\.postgreSQLValue)).map { row in
                SQLRow { row[$0].map(SQLValue.init) }
            }
        }

        func announce(_ topic: String) throws {
            try transaction.run(
                "SELECT pg_notify($1 || '_' || current_schema(), $2)",
                [.text(PostgreSQLEngine.channel), .text("\(origin) \(topic)")])
        }

        /// `sql` with `$1`, `$2`, … for its question marks; no statement has one in a text.
        private static func numbered(_ sql: String) -> String {
            var numbered = ""
            var count = 0
            for character in sql {
                guard character == "?" else {
                    numbered.append(character)
                    continue
                }
                count += 1
                numbered += "$\(count)"
            }
            return numbered
        }
    }
}

extension AsyncStream<PostgreSQLNews> {
    /// As an engine tells it: whoever begins to listen, or does so again, may have missed some.
    fileprivate func announcements(besidesThoseOf origin: String) -> AsyncStream<SQLAnnouncement> {
        let (stream, continuation) = AsyncStream<SQLAnnouncement>.makeStream()
        let task = Task {
            for await news in self {
                switch news {
                case .listening: continuation.yield(.gap)
                case .notified(let text):
                    let halves = text.split(separator: " ", maxSplits: 1)
                    if halves.count == 2, halves[0] != origin { continuation.yield(.topic(String(halves[1]))) }
                case .lost: break
                }
            }
            continuation.finish()
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }
}

extension SQLValue {
    fileprivate var postgreSQLValue: PostgreSQLValue {
        switch self {
        case .null: .null
        case .integer(let number): .integer(number)
        case .text(let text): .text(text)
        case .bytes(let bytes): .bytes(bytes)
        }
    }

    fileprivate init(_ value: PostgreSQLValue) {
        switch value {
        case .null: self = .null
        case .integer(let number): self = .integer(number)
        case .text(let text): self = .text(text)
        case .bytes(let bytes): self = .bytes(bytes)
        }
    }
}
