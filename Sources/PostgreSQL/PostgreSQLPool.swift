import NIOPosix
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Connections to one database, opened when they are needed and kept.
package final class PostgreSQLPool: Sendable {
    package let url: String
    private let threads: NIOThreadPool
    private let free = Mutex<[Lent]>([])

    /// Enough to keep a server's disk busy; a database takes a hundred connections by default, for all of its clients.
    package static let standardThreads = 8
    /// How often a transaction is run that gives way to others, or loses its connection: with 16 writers on one row the
    /// last needs about as many.
    private static let attempts = 40
    /// Between two of them, in microseconds; a random part of the current limit, which doubles up to the last.
    private static let pauses: (first: UInt32, last: UInt32) = (500, 50_000)

    /// A connection on its way between threads.
    ///
    /// `@unchecked Sendable`: whoever takes it out of `free` is its only user until it is put back, and the mutex orders
    /// the two.
    private struct Lent: @unchecked Sendable {
        let connection: PostgreSQLConnection
    }

    /// Connects to nothing yet.
    /// - Parameters:
    ///   - url: as libpq takes it, `postgres://…` or `key=value …`.
    ///   - threads: as many transactions run at once.
    package init(url: String, threads: Int = standardThreads) {
        self.url = url
        self.threads = NIOThreadPool(numberOfThreads: threads)
        self.threads.start()
    }

    /// Ends all connections. Later calls fail.
    package func close() async throws {
        try await threads.shutdownGracefully()
        free.withLock { $0 = [] }
    }

    /// Runs `body` in a serializable transaction, and commits unless it throws.
    ///
    /// `body` is run again if the transaction met another one, or its connection was lost before the commit.
    /// - Throws: `PostgreSQLError`, or what `body` throws.
    package func transaction<Answer: Sendable>(
        readOnly: Bool = false, _ body: @escaping @Sendable (PostgreSQLTransaction) throws -> Answer
    ) async throws -> Answer {
        try await threads.runIfActive { try self.run(readOnly, body) }
    }

    private func run<Answer>(
        _ readOnly: Bool, _ body: (PostgreSQLTransaction) throws -> Answer
    ) throws -> Answer {
        var pause = Self.pauses.first
        for attempt in 1... {
            let kept = free.withLock { $0.popLast() }
            do {
                let connection = try kept?.connection ?? PostgreSQLConnection(url: url)
                defer { putBack(connection) }
                return try Self.run(readOnly, on: connection, body)
            } catch let error as PostgreSQLError where attempt < Self.attempts {
                // A kept connection may have died since it was used last; a new one that can't be had says why.
                guard error.isWorthRepeating || (error.kind == .lost && kept != nil) else { throw error }
                usleep(.random(in: 0...pause))
                pause = min(2 * pause, Self.pauses.last)
            }
        }
        preconditionFailure("the last attempt returns or throws")
    }

    private static func run<Answer>(
        _ readOnly: Bool, on connection: PostgreSQLConnection, _ body: (PostgreSQLTransaction) throws -> Answer
    ) throws -> Answer {
        try connection.command("BEGIN ISOLATION LEVEL SERIALIZABLE" + (readOnly ? ", READ ONLY" : ""))
        let answer: Answer
        do {
            answer = try body(PostgreSQLTransaction(connection))
        } catch {
            try? connection.command("ROLLBACK")
            throw error
        }
        do {
            try connection.command("COMMIT")
        } catch  where error.kind == .lost {
            throw PostgreSQLError(.outcomeUnknown, error.message)
        }
        return answer
    }

    private func putBack(_ connection: PostgreSQLConnection) {
        guard connection.isAlive, connection.isIdle else { return }
        let lent = Lent(connection: connection)
        free.withLock { $0.append(lent) }
    }
}
