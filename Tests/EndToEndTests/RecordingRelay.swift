import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

/// Passes on what devices and a server on loopback say to each other, and keeps a copy.
final class RecordingRelay: Sendable {
    private let listener: any Channel
    private let record = NIOLockedValueBox<[UInt8]>([])

    var port: Int { listener.localAddress?.port ?? 0 }
    /// All bytes so far, in both directions.
    var recorded: [UInt8] { record.withLockedValue { $0 } }

    private init(listener: any Channel) { self.listener = listener }

    static func start(to port: Int) async throws -> RecordingRelay {
        let box = NIOLockedValueBox<RecordingRelay?>(nil)
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            // Nothing is read before there is somebody to pass it to.
            .childChannelOption(ChannelOptions.autoRead, value: false)
            .childChannelInitializer { near in
                guard let relay = box.withLockedValue({ $0 }) else { return near.close() }
                return ClientBootstrap(group: near.eventLoop)
                    .channelOption(ChannelOptions.autoRead, value: false)
                    .channelInitializer { far in far.pipeline.addHandler(Passing(to: near, relay)) }
                    .connect(host: "127.0.0.1", port: port)
                    .flatMap { far in
                        near.pipeline.addHandler(Passing(to: far, relay)).flatMap {
                            near.setOption(ChannelOptions.autoRead, value: true)
                                .and(far.setOption(ChannelOptions.autoRead, value: true)).map { _ in }
                        }
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let relay = RecordingRelay(listener: listener)
        box.withLockedValue { $0 = relay }
        return relay
    }

    func stop() async throws { try await listener.close().get() }

    private final class Passing: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        private let other: any Channel
        private let relay: RecordingRelay

        init(to other: any Channel, _ relay: RecordingRelay) {
            self.other = other
            self.relay = relay
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = unwrapInboundIn(data)
            relay.record.withLockedValue { $0.append(contentsOf: bytes.readableBytesView) }
            other.writeAndFlush(bytes, promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
