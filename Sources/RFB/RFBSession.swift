import NIOCore

/// The talk with one server: answers its handshake, keeps the picture, and gives it to who asked. Lives on the event
/// loop of its channel.
final class RFBSession: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// Fulfilled with the handshake.
    let ready: EventLoopPromise<Void>
    private var reader = RFBReader()
    private var picture = RFBImage(width: 0, height: 0)
    /// Pixels that came since the picture in hand was asked for: it is whole when all have.
    private var arrived = 0
    private var waiting: [EventLoopPromise<RFBImage>] = []
    private var end: RFBError?

    init(ready: EventLoopPromise<Void>) { self.ready = ready }

    // MARK: Asking

    /// Asks for the whole screen as it is now.
    func askForScreen(_ promise: EventLoopPromise<RFBImage>, on channel: any Channel) {
        if let end { return promise.fail(end) }
        waiting.append(promise)
        // One at a time: two requests may be answered by one update, older than the second of them.
        if waiting.count == 1 { request(on: channel) }
    }

    private func request(on channel: any Channel) {
        arrived = 0
        channel.writeAndFlush(
            RFBRequest.update(width: picture.width, height: picture.height, incremental: false), promise: nil)
    }

    func finish(_ error: RFBError) {
        guard end == nil else { return }
        end = error
        ready.fail(error)
        for promise in waiting { promise.fail(error) }
        waiting = []
    }

    // MARK: Reading

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard end == nil else { return }
        reader.append(unwrapInboundIn(data))
        do {
            while let event = try reader.next() { try take(event, context) }
        } catch {
            errorCaught(context: context, error: error)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        finish(error as? RFBError ?? .closed(reason: "\(error)"))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(.closed(reason: "the server closed it"))
        context.fireChannelInactive()
    }

    private func take(_ event: RFBReader.Event, _ context: ChannelHandlerContext) throws(RFBError) {
        switch event {
        case .version: send(ByteBuffer(string: RFBRequest.version), context)
        case .securityTypes(let types):
            guard types.contains(RFBRequest.noSecurity) else { throw .refused("it wants a password") }
            send(ByteBuffer(bytes: [RFBRequest.noSecurity]), context)
            // Said at once: it is the only thing that may follow. We share the screen with other viewers.
            send(ByteBuffer(bytes: [1]), context)
        case .ready(let width, let height):
            picture = RFBImage(width: width, height: height)
            send(RFBRequest.begin(), context)
            ready.succeed()
        case .resized(let width, let height):
            picture = RFBImage(width: width, height: height)
            if !waiting.isEmpty { request(on: context.channel) }
        case .pixels(let x, let y, let width, let height, let bytes):
            put(bytes, x: x, y: y, width: width, height: height)
        case .updateEnded: giveOrAskOn(context)
        }
    }

    private func put(_ bytes: ByteBuffer, x: Int, y: Int, width: Int, height: Int) {
        arrived += width * height
        let all = bytes.readableBytesView
        for row in 0..<height {
            let start = all.startIndex + row * width * 4
            picture.put(all[start..<start + width * 4], x: x, y: y + row)
        }
    }

    /// A server may answer in several updates, each to a request of its own.
    private func giveOrAskOn(_ context: ChannelHandlerContext) {
        guard let first = waiting.first else { return }
        guard arrived >= picture.width * picture.height else {
            return send(
                RFBRequest.update(width: picture.width, height: picture.height, incremental: true), context)
        }
        first.succeed(picture)
        waiting.removeFirst()
        if !waiting.isEmpty { request(on: context.channel) }
    }

    private func send(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
    }
}
