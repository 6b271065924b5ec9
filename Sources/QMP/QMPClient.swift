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
    ///
    /// It stays on the caller's executor: each hop to another one would lie in the guest's pause.
    package nonisolated(nonsending) func execute<Command: QMPCommand>(
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

    /// Calls `body` with each event from this call on, in their order, and with nil when the connection has ended; until
    /// the observation is dropped.
    ///
    /// On the thread that reads from QEMU, before the streams and before answers that came later: `body` must not wait.
    package func observe(_ body: @escaping @Sendable (QMPEvent?) -> Void) -> QMPObservation {
        QMPObservation(of: session.feed, key: session.feed.observe(body))
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

/// A call of `QMPClient.observe` that goes on until this is dropped.
package final class QMPObservation: Sendable {
    private let feed: EventFeed
    private let key: UInt64

    init(of feed: EventFeed, key: UInt64) {
        self.feed = feed
        self.key = key
    }

    deinit { feed.removeObserver(key) }
}
