import Logging
import NIOCore
import NIOPosix

/// Asks a connection to finish what is in flight and to close.
struct NBDShutdown: Sendable {}

/// One client, on its event loop: bytes in, requests to the thread pool, replies out in the order they are ready.
///
/// The channel doesn't read by itself: a read is asked for only while another request may be taken, so a client that
/// sends faster than the disk, or doesn't take its replies, fills its own socket and nothing else.
final class NBDConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case handshake(NBDHandshake)
        case transmission(NBDRequestReader, NBDExecutor)
        /// No further request is taken; the channel closes when the last reply is out.
        case draining
    }

    private let limits: NBDLimits
    private let threadPool: NIOThreadPool
    private let logger: Logger
    /// Succeeds when the channel is closed and no call of the device runs any more.
    private let finished: EventLoopPromise<Void>

    private var phase: Phase
    private var context: ChannelHandlerContext?
    private var input = ByteBuffer()
    private var isReading = false
    /// Requests, and their payload bytes, whose reply the client hasn't taken yet.
    private var requestsInFlight = 0
    private var bytesInFlight = 0
    /// Calls of the device that have not returned.
    private var callsRunning = 0
    private var deadline: Scheduled<Void>?

    init(
        exports: NBDExports, limits: NBDLimits, threadPool: NIOThreadPool, logger: Logger,
        finished: EventLoopPromise<Void>
    ) {
        self.phase = .handshake(NBDHandshake(exports: exports, limits: limits))
        self.limits = limits
        self.threadPool = threadPool
        self.logger = logger
        self.finished = finished
    }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        closeAfter(limits.handshakeTimeout, "the handshake took too long")
        context.writeAndFlush(wrapOutboundOut(NBDHandshake.greeting()), promise: nil)
        readIfRoom()
    }

    /// The last call of a handler's life, for a channel that never became active too.
    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
        deadline?.cancel()
        phase = .draining
        input = ByteBuffer()
        finishIfDone()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        receive(unwrapInboundIn(data))
        process()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        isReading = false
        readIfRoom()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        process()
        readIfRoom()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        logger.debug("an NBD connection failed", metadata: ["error": "\(error)"])
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is NBDShutdown else { return context.fireUserInboundEventTriggered(event) }
        if case .handshake = phase { context.close(promise: nil) } else { drain() }
    }
}

// MARK: - Bytes in

extension NBDConnection {
    /// Whole requests are used where they were received; only what is left of a chunk is copied to meet its rest.
    private func receive(_ chunk: ByteBuffer) {
        if input.readableBytes == 0 {
            input = chunk
        } else {
            input.writeImmutableBuffer(chunk)
        }
    }

    /// Takes messages from `input` as long as there are whole ones and room for them.
    private func process() {
        do {
            while hasRoom, try processOne() {}
        } catch {
            logger.notice("an NBD client broke the protocol", metadata: ["error": "\(error)"])
            context?.close(promise: nil)
        }
    }

    /// True if there may be another message.
    private func processOne() throws(NBDViolation) -> Bool {
        switch phase {
        case .handshake(var handshake):
            var replies = ByteBuffer()
            let step = try handshake.step(&input, replies: &replies)
            phase = .handshake(handshake)
            if replies.readableBytes > 0 { context?.writeAndFlush(wrapOutboundOut(replies), promise: nil) }
            return act(on: step)
        case .transmission(var reader, let executor):
            let step = try reader.step(&input)
            phase = .transmission(reader, executor)
            return act(on: step, executor)
        case .draining:
            input = ByteBuffer()
            return false
        }
    }

    private func act(on step: NBDHandshake.Step) -> Bool {
        switch step {
        case .needsMore(let bytes): makeRoom(for: bytes)
        case .answered: return true
        case .began(let session):
            deadline?.cancel()
            phase = .transmission(
                NBDRequestReader(session: session, limits: limits),
                NBDExecutor(session: session, limits: limits, logger: logger))
            return true
        case .ended: drain()
        }
        return false
    }

    private func act(on step: NBDRequestReader.Step, _ executor: NBDExecutor) -> Bool {
        switch step {
        case .needsMore(let bytes): makeRoom(for: bytes)
        case .request(let request):
            run(request, executor)
            return true
        case .refused(let request, let error):
            begin(bytes: 0)
            send(executor.format.failure(request, error), bytes: 0)
            return true
        case .disconnect: drain()
        }
        return false
    }

    /// Moves the beginning of a message into a buffer of its own that holds the whole of it. Requests that share the
    /// old one may still be running, and appending to a shared buffer would copy all of it each time.
    private func makeRoom(for bytes: Int) {
        guard input.readableBytes > 0 || bytes > Self.chunkBytesMax else { return input = ByteBuffer() }
        guard input.readableBytes + input.writableBytes < bytes || input.readerIndex > 0 else { return }
        // The chunk that completes the message brings the beginning of the next one: room for that as well, or the
        // buffer would have to move.
        var whole = ByteBufferAllocator().buffer(capacity: bytes + Self.chunkBytesMax)
        whole.writeImmutableBuffer(input)
        input = whole
    }

    /// The largest read: a unix socket rarely holds more at once.
    static let chunkBytesMax = 256 << 10

    private var hasRoom: Bool {
        switch phase {
        case .draining: false
        // Replies to options aren't counted: a client that doesn't take them may not ask for more.
        case .handshake: context?.channel.isWritable == true
        case .transmission:
            requestsInFlight == 0
                || (requestsInFlight < limits.requestsInFlightMax && bytesInFlight < limits.bytesInFlightMax)
        }
    }

    private func readIfRoom() {
        guard hasRoom, !isReading, let context else { return }
        isReading = true
        context.read()
    }
}

// MARK: - Requests and replies

extension NBDConnection {
    private func run(_ request: NBDRequest, _ executor: NBDExecutor) {
        guard let loop = context?.eventLoop else { return }
        begin(bytes: request.heldBytes)
        callsRunning += 1
        threadPool.runIfActive(eventLoop: loop) { executor.reply(to: request) }
            .assumeIsolated()
            .whenComplete { result in
                self.callsRunning -= 1
                switch result {
                case .success(let reply): self.send(reply, bytes: request.heldBytes)
                case .failure: self.context?.close(promise: nil)
                }
                self.finishIfDone()
            }
    }

    private func begin(bytes: Int) {
        requestsInFlight += 1
        bytesInFlight += bytes
    }

    /// The request counts as in flight until the socket has taken its reply.
    private func send(_ reply: ByteBuffer, bytes: Int) {
        guard let context else { return }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in
            self.requestsInFlight -= 1
            self.bytesInFlight -= bytes
            self.replied()
        }
        context.writeAndFlush(wrapOutboundOut(reply), promise: written)
    }

    private func replied() {
        if case .draining = phase { return closeIfDrained() }
        // Requests may wait in `input` since the limit was reached.
        process()
        readIfRoom()
    }
}

// MARK: - The end

extension NBDConnection {
    /// Takes no further request, and closes when the last reply is out.
    private func drain() {
        if case .draining = phase { return }
        phase = .draining
        deadline?.cancel()
        closeAfter(limits.drainTimeout, "the client didn't take its last replies")
        closeIfDrained()
    }

    private func closeIfDrained() {
        guard requestsInFlight == 0, let context else { return }
        // An empty write after all others: when it is done, they are with the client's socket.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { _ in
            self.context?.close(promise: nil)
        }
    }

    private func closeAfter(_ delay: TimeAmount, _ reason: String) {
        deadline = context?.eventLoop.assumeIsolated().scheduleTask(in: delay) {
            self.logger.notice("closing an NBD connection", metadata: ["reason": "\(reason)"])
            self.context?.close(promise: nil)
        }
    }

    private func finishIfDone() {
        if context == nil, callsRunning == 0 { finished.succeed() }
    }
}
