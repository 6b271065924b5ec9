import NIOCore

/// A connection to the QMP socket of one QEMU.
///
/// May be used from any task; commands are sent in the order of the calls and any number (`QMPLimits.pendingMax`) may
/// be in flight. When the connection ends, each waiting command throws, each stream of events finishes, and the client
/// is of no more use. A client that nobody holds closes its connection.
package final class QMPClient: Sendable {
    /// The QEMU at the other end, as it greeted.
    package let version: QMPVersion
    private let session: Session
    private let channel: any Channel

    init(version: QMPVersion, session: Session, channel: any Channel) {
        self.version = version
        self.session = session
        self.channel = channel
    }

    deinit {
        channel.close(promise: nil)
    }

    /// Sends `command` and waits for its answer. Events that QEMU sent before the answer are already in the streams.
    /// - Throws: `QMPError`, or `CancellationError` when the task is cancelled; QEMU may carry out the command in
    ///   spite of `closed`, `timedOut` and a cancellation.
    package func execute<Command: QMPCommand>(
        _ command: Command, timeout: Duration = QMPLimits.answerTimeout
    ) async throws -> Command.Response {
        try await session.execute(command, timeout: timeout, on: channel)
    }

    /// The events from this call on; so subscribe before the command whose events matter.
    ///
    /// Each call gives a stream of its own, for one reader. A reader that falls `QMPLimits.eventsMax` events behind
    /// loses the oldest, which shows as a gap in `QMPEvent.number`: ask for the state then. The stream finishes when
    /// the connection ends.
    package func events() -> AsyncStream<QMPEvent> {
        session.feed.subscribe()
    }

    /// Whether the connection has ended, for any reason.
    package var isClosed: Bool { session.waiters.end != nil }

    /// Ends the connection; waiting commands throw `closed`. QEMU runs on. Does nothing the second time.
    package func close() async {
        session.finish(.closed(reason: "closed on this side"))
        channel.close(promise: nil)
        await waitClosed()
    }

    /// Returns when the connection has ended, by either side.
    package func waitClosed() async {
        // The future only says that the channel is closed; it fails when the event loops are shut down: an end too.
        try? await channel.closeFuture.get()
    }
}
