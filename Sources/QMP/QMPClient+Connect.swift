import Logging
import NIOCore
import NIOPosix

extension QMPClient {
    /// Connects to the unix socket at `path`, reads QEMU's greeting and leaves negotiation mode.
    ///
    /// QEMU serves one client per socket; another one waits for its greeting until `timeout`.
    /// - Throws: `QMPError`: `closed` if there is no such socket or nobody listens, `timedOut` if all of it takes
    ///   longer than `timeout`, `malformed` if the peer doesn't speak QMP; `CancellationError` if the task is
    ///   cancelled.
    package static func connect(
        path: String, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, logger: Logger,
        timeout: Duration = QMPLimits.connectTimeout
    ) async throws -> QMPClient {
        try Task.checkCancellation()
        let loop = group.any()
        let deadline = NIODeadline.now() + TimeAmount(timeout)
        let session = Session(on: loop, logger: logger)
        let channel = try await openChannel(path: path, loop: loop, session: session, timeout: timeout)
        let timer = loop.scheduleTask(deadline: deadline) {
            session.finish(.timedOut(command: "connect"))
        }
        defer { timer.cancel() }
        do {
            return try await negotiate(session, on: channel, timeout: timeout)
        } catch {
            channel.close(promise: nil)
            try Task.checkCancellation()
            throw error
        }
    }

    private static func openChannel(
        path: String, loop: any EventLoop, session: Session, timeout: Duration
    ) async throws -> any Channel {
        let bootstrap = ClientBootstrap(group: loop)
            .connectTimeout(TimeAmount(timeout))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(SessionHandler(session))
                }
            }
        do {
            return try await bootstrap.connect(unixDomainSocketPath: path).get()
        } catch {
            let reason = QMPError.closed(reason: "can't connect to \(path): \(error)")
            session.finish(reason)
            throw reason
        }
    }

    private static func negotiate(
        _ session: Session, on channel: any Channel, timeout: Duration
    ) async throws -> QMPClient {
        let version = try await withTaskCancellationHandler {
            try await session.greeting.futureResult.get()
        } onCancel: {
            session.finish(.closed(reason: "cancelled"))
        }
        _ = try await session.execute(QMPCapabilities(), timeout: timeout, on: channel)
        return QMPClient(version: version, session: session, channel: channel)
    }
}

/// Ends the negotiation ("QMP Specification", 4. Capabilities Negotiation); nothing else is answered before.
struct QMPCapabilities: QMPCommand {
    static let name = "qmp_capabilities"
}
