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

    @Test("what the link hasn't taken doesn't count as gone") func meter() async throws {
        try await ServerFixture.with { it in
            let relay = try await SlowRelay.start(to: ServerAddress(it.address).port, upTo: 64 << 10)
            let certificate = try await PinnedTLS.certificate(of: try ServerAddress(it.address), it.laptopDevice.keys)
            let meter = TrafficMeter()
            let http = try SyncClient.makeHTTPClient(it.laptopDevice.keys, server: certificate, meter: meter)
            let slow = SyncClient(servers: ServerRing(["https://127.0.0.1:\(relay.port)"]), httpClient: http)
            let chunk = randomBytes(600 << 10)
            let upload = Task { await failure { _ = try await slow.putChunk(chunk) } }
            var shown: UInt64 = 0
            repeat {
                shown = meter.bytes
                try await Task.sleep(for: .seconds(1))
            } while shown == 0 || meter.bytes != shown
            upload.cancel()
            _ = await upload.value
            try await http.shutdown()
            try await relay.stop()
            // What the relay passed on, what two kernels hold of it, and what is on its way between threads.
            #expect(shown < 450 << 10)
        }
    }

    @Test("a line that is full at first is not taken for a server that isn't there") func fullLine() async throws {
        try await ServerFixture.with { it in
            let certificate = try await PinnedTLS.certificate(of: try ServerAddress(it.address), it.laptopDevice.keys)
            // The kernel takes the connection, and then nothing goes over it for as long as three lost packets in a row take.
            let relay = try await SlowRelay.start(to: ServerAddress(it.address).port, after: .milliseconds(3500))
            let full = "https://127.0.0.1:\(relay.port)"
            let http = try SyncClient.makeHTTPClient(it.laptopDevice.keys, server: certificate)
            let client = SyncClient(servers: ServerRing([full]), httpClient: http)
            #expect(await failure { try await client.checkHealth() } == nil)
            try await http.shutdown()
            // Who has another server, and less patience, goes there.
            let hasty = try SyncClient.makeHTTPClient(
                it.laptopDevice.keys, server: certificate, connect: .milliseconds(300))
            let both = SyncClient(servers: ServerRing([full, it.laptop.url]), httpClient: hasty)
            #expect(await failure { try await both.checkHealth() } == nil)
            #expect(both.url == it.laptop.url)
            try await hasty.shutdown()
            try await relay.stop()
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

    /// - Parameters:
    ///   - delay: so long nothing is passed on at first.
    ///   - most: after so many bytes of a connection, nothing more of it.
    static func start(
        to port: Int, after delay: TimeAmount = interval, upTo most: Int = .max
    ) async throws -> SlowRelay {
        let listener = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            // The kernel takes no more than that, either.
            .serverChannelOption(.socketOption(.so_rcvbuf), value: 64 << 10)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: portion))
            .childChannelInitializer { near in
                let passed = NIOLockedValueBox(0)
                return ClientBootstrap(group: near.eventLoop)
                    .channelInitializer { far in far.pipeline.addHandler(Passing(to: near)) }
                    .connect(host: "127.0.0.1", port: port)
                    .flatMap { far in near.pipeline.addHandler(Passing(to: far, counting: passed)) }
                    .map {
                        let reading = near.eventLoop.scheduleRepeatedTask(initialDelay: delay, delay: interval) {
                            _ in
                            if passed.withLockedValue({ $0 }) < most { near.read() }
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
        private let passed: NIOLockedValueBox<Int>

        init(to other: any Channel, counting passed: NIOLockedValueBox<Int> = NIOLockedValueBox(0)) {
            self.other = other
            self.passed = passed
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let portion = unwrapInboundIn(data)
            passed.withLockedValue { $0 += portion.readableBytes }
            other.writeAndFlush(portion, promise: nil)
        }

        func channelInactive(context: ChannelHandlerContext) { other.close(promise: nil) }
        func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
    }
}
