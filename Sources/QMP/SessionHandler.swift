import NIOCore

/// Feeds the bytes of a channel to its session, line by line, and ends both when either goes wrong.
final class SessionHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let session: Session
    private var splitter = LineSplitter()

    init(_ session: Session) {
        self.session = session
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // A session that has ended hears nothing more, though its channel may still be closing.
        guard session.waiters.end == nil else { return }
        splitter.append(unwrapInboundIn(data))
        do {
            while let line = try splitter.next() { try session.receive(line) }
        } catch {
            errorCaught(context: context, error: error)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        session.finish(error as? QMPError ?? .closed(reason: "\(error)"))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        session.finish(.closed(reason: "QEMU closed the connection"))
        context.fireChannelInactive()
    }
}
