import Logging
import NIOCore
import NIOPosix

/// Asks a connection to finish what is in flight and to close.
struct NBDShutdown: Sendable {}

/// One client, on its event loop: bytes in, requests to the thread pool, replies out in the order they are ready.
///
/// The way to another thread and back, and a system call for its reply alone, cost more than a small request itself. So
/// what was received together is answered together: reads and flushes that need no waiting right here, writes in one
/// visit to the pool, and the replies of a pass in one write to the socket.
///
/// The channel doesn't read by itself: a read is asked for only while another request may be taken, so a client that
/// sends faster than the disk, or doesn't take its replies, fills its own socket and nothing else.
final class NBDConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case handshake(NBDHandshake)
        case transmission(NBDRequestReader)
        /// No further request is taken; the channel closes when the last reply is out.
        case draining
    }

    private let limits: NBDLimits
    private let threadPool: NIOThreadPool
    private let logger: Logger
    /// Succeeds when the channel is closed and no call of the device runs any more.
    private let finished: EventLoopPromise<Void>

    /// Requests, and their payload bytes, that go one way together.
    private struct Load {
        var requests = 0
        var bytes = 0

        static func += (sum: inout Load, more: Load) {
            sum.requests += more.requests
            sum.bytes += more.bytes
        }
    }

    private var phase: Phase
    /// Of the session, once the handshake has settled one.
    private var executor: NBDExecutor?
    private var context: ChannelHandlerContext?
    private var input = ByteBuffer()
    private var isReading = false
    private var isProcessing = false
    /// Writes that this pass has met, for one visit to the pool. Empty between passes.
    private var writes: [NBDRequest] = []
    /// Replies that this pass has ready. Empty between passes.
    private var replies = ByteBuffer()
    private var replied = Load()
    /// What the client hasn't taken the reply of yet.
    private var inFlight = Load()
    /// Buffers of large writes that are done, to receive the next ones: one that was just freed and is taken anew must be
    /// mapped page by page again, which took a sixth of all time. Empty when nothing is in flight.
    private var spares: [ByteBuffer] = []
    /// As many writes of a megabyte as are usually being received or carried out at a moment.
    private static let sparesMax = 4
    /// Visits to the pool that have not returned.
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
        writes = []
        spares = []
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

    /// Takes messages from `input` as long as there are whole ones and room for them. A reply that the socket takes at
    /// once makes room while this runs: the loop sees to that, not another call.
    private func process() {
        guard !isProcessing else { return }
        isProcessing = true
        defer { isProcessing = false }
        var mayHaveMore = true
        while mayHaveMore, hasRoom {
            do {
                repeat { mayHaveMore = try processOne() } while mayHaveMore && hasRoom && !hasManyReplies
            } catch {
                logger.notice("an NBD client broke the protocol", metadata: ["error": "\(error)"])
                context?.close(promise: nil)
                return
            }
            visitPoolWithWrites()
            sendReplies()
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
        case .transmission(var reader):
            let step = try reader.step(&input)
            phase = .transmission(reader)
            return act(on: step)
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
            phase = .transmission(NBDRequestReader(session: session, limits: limits))
            executor = NBDExecutor(session: session, limits: limits, logger: logger)
            return true
        case .ended: drain()
        }
        return false
    }

    private func act(on step: NBDRequestReader.Step) -> Bool {
        switch step {
        case .needsMore(let bytes): makeRoom(for: bytes)
        case .request(let request):
            run(request)
            return true
        case .refused(let request, let error):
            refuse(request, error)
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
        var whole = spares.popLast() ?? ByteBuffer()
        // If somebody still looks at the old bytes, this is a new buffer.
        whole.clear(minimumCapacity: bytes + Self.chunkBytesMax)
        whole.writeImmutableBuffer(input)
        input = whole
    }

    /// The largest read: a unix socket rarely holds more at once.
    static let chunkBytesMax = 256 << 10

    /// What the socket may hold of our replies, if the host allows so much: the reply to a large READ goes out at once
    /// rather than in five turns, each of which waits for the client.
    static let sendBufferBytes = 2 << 20

    private var hasRoom: Bool {
        switch phase {
        case .draining: false
        // Replies to options aren't counted: a client that doesn't take them may not ask for more.
        case .handshake: context?.channel.isWritable == true
        case .transmission:
            inFlight.requests == 0
                || (inFlight.requests < limits.requestsInFlightMax && inFlight.bytes < limits.bytesInFlightMax)
        }
    }

    /// Whether the replies of this pass are best sent before another one is made, so that their buffer stays small.
    private var hasManyReplies: Bool { replies.readableBytes >= Self.chunkBytesMax }

    private func readIfRoom() {
        guard hasRoom, !isReading, let context else { return }
        isReading = true
        context.read()
    }
}

// MARK: - Requests and replies

extension NBDConnection {
    private func run(_ request: NBDRequest) {
        let load = Load(requests: 1, bytes: request.heldBytes)
        inFlight += load
        if request.waitsForMemoryOnly {
            writes.append(request)
        } else if request.heldBytes <= Self.promptBytesMax, executor?.replyPromptly(to: request, in: &replies) == true {
            replied += load
        } else {
            visitPool([request], load)
        }
    }

    /// The longest READ that is answered on the event loop: beyond it copying takes longer than the way to a thread of
    /// the pool, which copies while the loop sends.
    private static let promptBytesMax = 64 << 10

    private func refuse(_ request: NBDRequest, _ error: NBDError) {
        guard let executor else { return }
        let load = Load(requests: 1)
        inFlight += load
        replied += load
        replies.writeImmutableBuffer(executor.format.failure(request, error))
    }

    private func visitPoolWithWrites() {
        guard !writes.isEmpty else { return }
        let requests = writes
        writes = []
        visitPool(requests, requests.reduce(into: Load()) { $0 += Load(requests: 1, bytes: $1.heldBytes) })
    }

    /// Has the requests done one after the other by one thread of the pool, and sends their replies together.
    private func visitPool(_ requests: [NBDRequest], _ load: Load) {
        guard let loop = context?.eventLoop, let executor else { return }
        callsRunning += 1
        threadPool.runIfActive(eventLoop: loop) { try executor.replies(to: requests) }
            .assumeIsolated()
            .whenComplete { result in
                self.callsRunning -= 1
                self.keepBuffers(of: requests)
                switch result {
                case .success(let replies): self.send(replies, load)
                case .failure: self.context?.close(promise: nil)
                }
                self.finishIfDone()
            }
    }

    /// Those of large writes, which have one each.
    private func keepBuffers(of requests: [NBDRequest]) {
        for request in requests where request.payload.readableBytes > Self.chunkBytesMax {
            guard spares.count < Self.sparesMax else { return }
            spares.append(request.payload)
        }
    }

    private func sendReplies() {
        guard replied.requests > 0 else { return }
        let (bytes, load) = (replies, replied)
        replied = Load()
        // Keeps its capacity, which the next pass is likely to need.
        replies.clear()
        send(bytes, load)
    }

    /// Requests count as in flight until the socket has taken their replies.
    private func send(_ replies: ByteBuffer, _ load: Load) {
        guard let context else { return }
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.assumeIsolated().whenComplete { _ in
            self.inFlight.requests -= load.requests
            self.inFlight.bytes -= load.bytes
            if self.inFlight.requests == 0 { self.spares = [] }
            self.wasTaken()
        }
        context.writeAndFlush(wrapOutboundOut(replies), promise: written)
    }

    private func wasTaken() {
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
        guard inFlight.requests == 0, let context else { return }
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
