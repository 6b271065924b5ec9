import AsyncHTTPClient
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import Testing
import VMSyncAPI
import VMSyncCore

/// A link that carries far less than a body has.
struct SlowLinkTests {
    @Test("an upload that goes on is not taken for a server that doesn't answer") func slowUpload() async throws {
        try await ServerFixture.with { it in
            let relay = try await SlowRelay.start(to: ServerAddress(it.address).port)
            let certificate = try await PinnedTLS.certificate(of: try ServerAddress(it.address), it.laptopDevice.keys)
            // Less than half of what the whole chunk takes, and more than a busy machine lets a turn wait.
            let http = try SyncClient.makeHTTPClient(it.laptopDevice.keys, server: certificate, silence: .seconds(5))
            let slow = SyncClient(servers: ServerRing(["https://127.0.0.1:\(relay.port)"]), httpClient: http)
            let chunk = randomBytes(APILimits.chunkBytesMax)
            let refused = await failure { _ = try await slow.putChunk(chunk) }
            try await http.shutdown()
            try await relay.stop()
            #expect(refused == nil)
            #expect(try await it.desktop.chunk(hash(of: chunk)) == chunk)
        }
    }
}

/// Passes on what a device says to a server on loopback, 300 KB a second, and the answers at once.
private final class SlowRelay: Sendable {
    private static let portion = 3 << 10
    private static let interval = TimeAmount.milliseconds(10)

    private let listener: any Channel
    var port: Int { listener.localAddress?.port ?? 0 }

    private init(listener: any Channel) { self.listener = listener }

    static func start(to port: Int) async throws -> SlowRelay {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            // The kernel takes no more than that, either.
            .serverChannelOption(.socketOption(.so_rcvbuf), value: 64 << 10)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: portion))
            .childChannelInitializer { near in
                ClientBootstrap(group: near.eventLoop)
                    .channelInitializer { far in far.pipeline.addHandler(Passing(to: near)) }
                    .connect(host: "127.0.0.1", port: port)
                    .flatMap { far in near.pipeline.addHandler(Passing(to: far)) }
                    .map {
                        let reading = near.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) {
                            _ in
                            near.read()
                        }
                        near.closeFuture.whenComplete { _ in reading.cancel() }
                    }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return SlowRelay(listener: listener)
    }

    func stop() async throws { try await listener.close().get() }

    private final class Passing: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        private let other: any Channel

        init(to other: any Channel) { self.other = other }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            other.writeAndFlush(unwrapInboundIn(data), promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
