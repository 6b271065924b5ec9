import NIOCore
import NIOPosix
import Synchronization
import VMSyncCheckpoint
import VMSyncCore

/// The unix socket into which QEMU writes its device state; one connection is one state.
///
/// Made once per VM, so that a pause contains no setting up. A connection that nobody expects is closed, so a state that
/// came too late is never taken for the next one.
package final class DeviceStateReceiver: Sendable {
    private let group: any EventLoopGroup
    private let listener = Mutex<(any Channel)?>(nil)
    private let expected = Mutex<EventLoopPromise<ByteBuffer>?>(nil)
    /// Bytes of the last state: the next one is gathered in a buffer that holds as many, so that it is never moved.
    private let lastBytes = Atomic(1 << 20)

    package static func listen(path: String, group: any EventLoopGroup) async throws -> DeviceStateReceiver {
        let receiver = DeviceStateReceiver(group: group)
        let listener = try await ServerBootstrap(group: group)
            // A state is megabytes: fewer, larger reads.
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 1 << 20))
            .childChannelInitializer { channel in receiver.accept(channel) }
            .bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        receiver.listener.withLock { $0 = listener }
        return receiver
    }

    private init(group: any EventLoopGroup) { self.group = group }

    /// A state that is on its way.
    package struct Expectation: Sendable {
        fileprivate let promise: EventLoopPromise<ByteBuffer>

        /// The state, whole, when QEMU has closed the connection.
        /// - Throws: `CancellationError` if the task is cancelled or another state is expected instead.
        package func state() async throws -> ByteBuffer {
            try await withTaskCancellationHandler {
                try await promise.futureResult.get()
            } onCancel: {
                promise.fail(CancellationError())
            }
        }

        /// Gives up waiting. Does nothing once the state is there.
        package func cancel() { promise.fail(CancellationError()) }
    }

    /// Takes the next connection for the state; to be called before QEMU is told to send it.
    package func expect() -> Expectation {
        let promise = group.any().makePromise(of: ByteBuffer.self)
        let earlier = expected.withLock { expected in
            defer { expected = promise }
            return expected
        }
        earlier?.fail(CancellationError())
        return Expectation(promise: promise)
    }

    package func close() async {
        expected.withLock { $0.take() }?.fail(CancellationError())
        try? await listener.withLock { $0.take() }?.close()
    }

    private func accept(_ channel: any Channel) -> EventLoopFuture<Void> {
        channel.eventLoop.makeCompletedFuture {
            guard let promise = expected.withLock({ $0.take() }) else { throw CancellationError() }
            let last = lastBytes.load(ordering: .relaxed)
            promise.futureResult.whenSuccess { self.lastBytes.store($0.readableBytes, ordering: .relaxed) }
            // An eighth more: parts of the screen that change while it is sent come twice.
            try channel.pipeline.syncOperations.addHandler(StateCollector(promise, capacity: last + last / 8))
        }
    }
}

/// Gathers what one connection brings until it closes.
private final class StateCollector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let state: EventLoopPromise<ByteBuffer>
    private var collected: ByteBuffer

    init(_ state: EventLoopPromise<ByteBuffer>, capacity: Int) {
        self.state = state
        collected = ByteBufferAllocator().buffer(capacity: capacity)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var part = unwrapInboundIn(data)
        collected.writeBuffer(&part)
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
