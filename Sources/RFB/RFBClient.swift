import NIOCore
import NIOPosix

/// A viewer without a window: a connection to the screen, keyboard and pointer of one virtual machine, over RFB (VNC,
/// RFC 6143) on a unix socket. It shares the screen with other viewers.
///
/// May be used from any task; input is sent in the order of the calls. When the connection ends, who waits gets an
/// error, and the client is of no more use. A client that nobody holds closes its connection.
package final class RFBClient: Sendable {
    private let channel: any Channel
    private let session: NIOLoopBoundBox<RFBSession>

    private init(channel: any Channel, session: NIOLoopBoundBox<RFBSession>) {
        self.channel = channel
        self.session = session
    }

    deinit {
        channel.close(promise: nil)
    }

    /// Connects to the unix socket at `path` and does the handshake, without a password.
    /// - Throws: `RFBError`: `closed` if nobody listens there, `timedOut`, `malformed`, or `refused`.
    package static func connect(
        path: String, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        timeout: Duration = RFBLimits.connectTimeout
    ) async throws -> RFBClient {
        let loop = group.any()
        let ready = loop.makePromise(of: Void.self)
        let session = NIOLoopBoundBox.makeBoxSendingValue(RFBSession(ready: ready), eventLoop: loop)
        let timer = loop.scheduleTask(in: TimeAmount(timeout)) { session.value.finish(.timedOut("the handshake")) }
        // At once, and not when this task goes on: that may be long after the handshake.
        ready.futureResult.whenComplete { _ in timer.cancel() }
        let bootstrap = ClientBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(session.value) }
        }
        let channel: any Channel
        do { channel = try await bootstrap.connect(unixDomainSocketPath: path).get() } catch {
            let reason = RFBError.closed(reason: "can't connect to \(path): \(error)")
            ready.fail(reason)
            throw reason
        }
        do { try await ready.futureResult.get() } catch {
            channel.close(promise: nil)
            throw error
        }
        return RFBClient(channel: channel, session: session)
    }

    // MARK: Input

    /// Presses a key, or lets it go.
    /// - Parameter keysym: as X numbers them; see `Keysym`.
    package func key(_ keysym: UInt32, down: Bool) async throws {
        try await send(RFBRequest.key(keysym, down: down))
    }

    /// Moves the pointer, and says which buttons are down there: 1 left, 2 middle, 4 right; 8 and 16 turn the wheel up
    /// and down by one notch, when they go down.
    package func pointer(x: Int, y: Int, buttons: UInt8) async throws {
        try await send(RFBRequest.pointer(x: UInt16(clamping: x), y: UInt16(clamping: y), buttons: buttons))
    }

    private func send(_ bytes: ByteBuffer) async throws {
        do { try await channel.writeAndFlush(bytes).get() } catch {
            throw RFBError.closed(reason: "\(error)")
        }
    }

    // MARK: Screen

    /// The whole screen, as it is after this call began.
    package func screen(timeout: Duration = RFBLimits.screenTimeout) async throws -> RFBImage {
        let loop = channel.eventLoop
        let promise = loop.makePromise(of: RFBImage.self)
        let timer = loop.scheduleTask(in: TimeAmount(timeout)) { self.session.value.finish(.timedOut("a picture")) }
        defer { timer.cancel() }
        loop.execute { self.session.value.askForScreen(promise, on: self.channel) }
        return try await promise.futureResult.get()
    }

    /// Ends the connection. Does nothing the second time.
    package func close() async {
        channel.close(promise: nil)
        try? await channel.closeFuture.get()
    }
}
