import NIOPosix
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// What a listening connection tells.
package enum PostgreSQLNews: Sendable, Hashable {
    /// It listens from now on, for the first time or again: what was notified before is lost.
    case listening
    /// It can't listen at the moment, for this reason, and goes on trying.
    case lost(String)
    /// Somebody notified this text.
    case notified(String)
}

/// Listens on one channel of a database, on a thread of its own, until it is stopped. Channels are the whole database's;
/// so that schemas don't disturb each other, the channel's name is `PREFIX_SCHEMA`.
package final class PostgreSQLNotifications: Sendable {
    /// Ends after `stop`.
    package let news: AsyncStream<PostgreSQLNews>
    private let isStopped = Atomic(false)
    private let threads = NIOThreadPool(numberOfThreads: 1)

    /// Milliseconds: how long a wait for input lasts before it is looked whether to stop.
    private static let look: Int32 = 200
    /// Microseconds between two tries to connect.
    private static let rest: UInt32 = 500_000

    /// - Parameter prefix: of the channel's name, before the schema's.
    package init(url: String, prefix: String) {
        let (stream, continuation) = AsyncStream.makeStream(of: PostgreSQLNews.self)
        news = stream
        threads.start()
        threads.submit { [self] _ in
            while !isStopped.load(ordering: .relaxed) {
                do throws(PostgreSQLError) {
                    try listen(url, prefix, continuation)
                } catch {
                    continuation.yield(.lost(error.message))
                    usleep(Self.rest)
                }
            }
            continuation.finish()
        }
    }

    /// Ends the stream, and the connection.
    package func stop() async throws {
        isStopped.store(true, ordering: .relaxed)
        try await threads.shutdownGracefully()
    }

    private func listen(
        _ url: String, _ prefix: String, _ continuation: AsyncStream<PostgreSQLNews>.Continuation
    ) throws(PostgreSQLError) {
        let connection = try PostgreSQLConnection(url: url)
        guard case .text(let schema) = try connection.run("SELECT current_schema()::text AS name", []).first?["name"]
        else { throw PostgreSQLError(.value, "the database has no schema for us") }
        let channel = "\(prefix)_\(schema)"
        try connection.command("LISTEN \"\(channel.replacing("\"", with: "\"\""))\"")
        continuation.yield(.listening)
        while !isStopped.load(ordering: .relaxed) {
            for notice in try connection.notifications() where notice.channel == channel {
                continuation.yield(.notified(notice.text))
            }
            var wait = pollfd(fd: connection.socket, events: Int16(POLLIN), revents: 0)
            poll(&wait, 1, Self.look)
        }
    }
}
