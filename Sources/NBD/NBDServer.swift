import Logging
import NIOCore
import NIOPosix
import Synchronization

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Serves block devices to NBD clients over a unix socket.
///
/// Owned by who starts it; `stop` ends it. Several connections may use one export at once.
package final class NBDServer: Sendable {
    private struct State {
        var connections: [ObjectIdentifier: Connection] = [:]
        var isStopping = false
    }

    private struct Connection {
        let channel: any Channel
        let finished: EventLoopFuture<Void>
    }

    private let path: String
    private let exports: NBDExports
    private let limits: NBDLimits
    private let threadPool: NIOThreadPool
    private let logger: Logger
    private let listener = Mutex<(any Channel)?>(nil)
    private let state = Mutex(State())

    private init(
        path: String, exports: NBDExports, limits: NBDLimits, threadPool: NIOThreadPool, logger: Logger
    ) {
        self.path = path
        self.exports = exports
        self.limits = limits
        self.threadPool = threadPool
        self.logger = logger
    }

    /// Listens at `path`, which only this user may connect to. A socket that a dead server left there is replaced.
    /// - Parameters:
    ///   - exports: The devices by name. If there is only one, the empty name stands for it as well.
    ///   - threadPool: Running; its threads are the only ones that call the devices, so its size bounds how many
    ///     requests are worked on at once.
    /// - Throws: what binding the socket throws.
    package static func start(
        path: String, exports: [String: any BlockDevice], group: any EventLoopGroup, threadPool: NIOThreadPool,
        logger: Logger, limits: NBDLimits = NBDLimits()
    ) async throws -> NBDServer {
        let server = NBDServer(
            path: path, exports: NBDExports(exports), limits: limits, threadPool: threadPool, logger: logger)
        let listener = try await ServerBootstrap(group: group)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.socketOption(.so_sndbuf), value: NBDConnection.sendBufferBytes)
            .childChannelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(
                    minimum: 4096, initial: 64 << 10, maximum: NBDConnection.chunkBytesMax)
            )
            .childChannelInitializer { channel in server.accept(channel) }
            .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
            .get()
        chmod(path, S_IRUSR | S_IWUSR)
        server.listener.withLock { $0 = listener }
        return server
    }

    /// Clients at the moment, those in their handshake included.
    package var connectionCount: Int { state.withLock { $0.connections.count } }

    /// Takes no new client, lets the requests in flight finish, and closes. When it returns, no device is called
    /// any more and the socket is gone.
    package func stop() async {
        let connections = state.withLock { state in
            state.isStopping = true
            return Array(state.connections.values)
        }
        if let listener = listener.withLock({ $0.take() }) {
            try? await listener.close()
            unlink(path)
        }
        for connection in connections {
            connection.channel.pipeline.fireUserInboundEventTriggered(NBDShutdown())
        }
        for connection in connections {
            // The promise is only ever succeeded.
            try? await connection.finished.get()
        }
    }

    private func accept(_ channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            let finished = channel.eventLoop.makePromise(of: Void.self)
            guard register(channel, finished.futureResult) else {
                finished.succeed()
                throw NBDError.shuttingDown
            }
            let connection = NBDConnection(
                exports: exports, limits: limits, threadPool: threadPool, logger: logger, finished: finished)
            do {
                try channel.pipeline.syncOperations.addHandler(connection)
            } catch {
                finished.succeed()
                throw error
            }
        }
    }

    /// False if the server stops, or has as many clients as it may.
    private func register(_ channel: any Channel, _ finished: EventLoopFuture<Void>) -> Bool {
        let id = ObjectIdentifier(channel)
        let isTaken = state.withLock { state in
            guard !state.isStopping, state.connections.count < limits.connectionsMax else { return false }
            state.connections[id] = Connection(channel: channel, finished: finished)
            return true
        }
        guard isTaken else { return false }
        finished.whenComplete { _ in
            self.state.withLock { state in _ = state.connections.removeValue(forKey: id) }
        }
        return true
    }
}
