import NIOCore
import NIOPosix
import VMSyncCheckpoint
import VMSyncCore

/// The unix socket into which a paused QEMU writes its device state; one connection is one state.
///
/// Made once per VM, so that a pause contains no setting up.
package final class DeviceStateReceiver: Sendable {
    private let listener: any Channel
    private let arrivals: AsyncStream<EventLoopFuture<ByteBuffer>>.Continuation
    private let states: AsyncStream<EventLoopFuture<ByteBuffer>>

    package static func listen(path: String, group: any EventLoopGroup) async throws -> DeviceStateReceiver {
        let (states, arrivals) = AsyncStream.makeStream(of: EventLoopFuture<ByteBuffer>.self)
        let listener = try await ServerBootstrap(group: group)
            // A state is megabytes: fewer, larger reads.
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 1 << 20))
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let collector = StateCollector(on: channel.eventLoop)
                    try channel.pipeline.syncOperations.addHandler(collector)
                    arrivals.yield(collector.state.futureResult)
                }
            }
            .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        return DeviceStateReceiver(listener: listener, states: states, arrivals: arrivals)
    }

    private init(
        listener: any Channel, states: AsyncStream<EventLoopFuture<ByteBuffer>>,
        arrivals: AsyncStream<EventLoopFuture<ByteBuffer>>.Continuation
    ) {
        self.listener = listener
        self.states = states
        self.arrivals = arrivals
    }

    /// The next state, whole. To be called by one task at a time, which sets its own deadline by cancelling.
    package func next() async throws -> ByteBuffer {
        var iterator = states.makeAsyncIterator()
        guard let state = await iterator.next() else { throw CancellationError() }
        return try await state.get()
    }

    package func close() async {
        arrivals.finish()
        try? await listener.close()
    }
}

/// Gathers what one connection brings until it closes.
private final class StateCollector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    let state: EventLoopPromise<ByteBuffer>
    private var collected = ByteBuffer()

    init(on loop: any EventLoop) { state = loop.makePromise() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var part = unwrapInboundIn(data)
        if collected.readableBytes == 0 { collected = part } else { collected.writeBuffer(&part) }
        if collected.readableBytes > Limits.deviceStateMax {
            state.fail(
                VMSyncError(.machine, "QEMU's device state is larger than \(ByteCount(Limits.deviceStateMax))"))
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) { state.succeed(collected) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        state.fail(error)
        context.close(promise: nil)
    }
}
