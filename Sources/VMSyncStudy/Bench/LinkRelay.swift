#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import CVMSyncLinux
import NIOCore
import NIOPosix
import VMSyncCore

/// Makes a sync server that runs on the far side of a link reachable from both: the server listens on loopback only, and
/// between machines it is reached through a forwarded port, as by `ssh -L`. This is that, without the cipher.
///
/// Both ends of it are on the far side: what comes from near goes over the link once, and only then here.
final class LinkRelay: Sendable {
    private let listener: any Channel
    /// Where devices of both sides reach the server.
    let host: String
    let port: Int

    private init(listener: any Channel, host: String) {
        self.listener = listener
        self.host = host
        port = listener.localAddress?.port ?? 0
    }

    /// - Parameter port: of the server, on the far side's loopback.
    static func start(on link: ShapedLink, to port: Int) async throws -> LinkRelay {
        let bound = try farSocket(link)
        do {
            try at(link.farAddress, port: 0) { bind(bound, $0, $1) }
        } catch {
            close(bound)
            throw error
        }
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
            // Nothing is read before there is somebody to pass it to.
            .childChannelOption(.autoRead, value: false)
            .childChannelInitializer { near in forward(near, link, port) }
            .withBoundSocket(bound).get()
        return LinkRelay(listener: listener, host: link.farAddress)
    }

    /// Takes no more connections; those that are there end with the devices.
    func stop() async { try? await listener.close() }

    private static func forward(_ near: any Channel, _ link: ShapedLink, _ port: Int) -> EventLoopFuture<Void> {
        let server: CInt
        do {
            server = try farSocket(link)
            // On loopback this doesn't wait.
            try at("127.0.0.1", port: port) { connect(server, $0, $1) }
        } catch {
            return near.eventLoop.makeFailedFuture(error)
        }
        // On the same event loop, so that the two may touch each other.
        return ClientBootstrap(group: near.eventLoop)
            .channelOption(.socketOption(.tcp_nodelay), value: 1)
            .channelOption(.autoRead, value: false)
            .withConnectedSocket(server)
            .flatMapThrowing { far in
                try near.pipeline.syncOperations.addHandler(PassOn(to: far))
                try far.pipeline.syncOperations.addHandler(PassOn(to: near))
                near.setOption(.autoRead, value: true).and(far.setOption(.autoRead, value: true)).whenFailure { _ in
                    near.close(promise: nil)
                    far.close(promise: nil)
                }
            }
    }

    private static func farSocket(_ link: ShapedLink) throws(VMSyncError) -> CInt {
        let made = cvmsync_socket_in(link.path, AF_INET, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue))
        guard made >= 0 else { throw .system("make a socket in", path: link.path) }
        return made
    }

    /// Calls `body`, a bind or connect, with the address.
    private static func at(
        _ address: String, port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> CInt
    ) throws {
        let result = try SocketAddress(ipAddress: address, port: port).withSockAddr { body($0, socklen_t($1)) }
        guard result == 0 else { throw VMSyncError.system("reach", path: "\(address):\(port)") }
    }
}

/// Passes on what it reads, no faster than the other side takes it, and closes both together.
private final class PassOn: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let other: any Channel

    init(to other: any Channel) { self.other = other }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        other.write(unwrapInboundIn(data), promise: nil)
    }

    func channelReadComplete(context: ChannelHandlerContext) { other.flush() }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        other.setOption(.autoRead, value: context.channel.isWritable).whenFailure { _ in }
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
