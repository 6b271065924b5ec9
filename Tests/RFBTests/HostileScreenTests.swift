import Foundation
import NIOCore
import NIOPosix
import RFB
import Testing

/// What a server says that isn't one of ours.
@Suite("A viewer and a server that lies", .timeLimit(.minutes(5)))
struct HostileScreenTests {
    private static let version = Array("RFB 003.008\n".utf8)
    private static let noSecurity: [UInt8] = [1, 1, 0, 0, 0, 0]
    /// A screen of 4 × 2 with a name of no letters.
    private static let screen: [UInt8] =
        [0, 4, 0, 2] + [UInt8](repeating: 0, count: 16) + [0, 0, 0, 0]
    private static var greeting: [UInt8] { version + noSecurity + screen }

    /// A rectangle's header: place, size, encoding.
    private static func rectangle(_ x: UInt16, _ y: UInt16, _ width: UInt16, _ height: UInt16, _ code: Int32) -> [UInt8]
    {
        var bytes = ByteBuffer()
        for number in [x, y, width, height] { bytes.writeInteger(number) }
        bytes.writeInteger(code)
        return Array(bytes.readableBytesView)
    }

    /// Serves `bytes` to each client, and `answer` when it asks for a picture, and gives what the viewer makes of them.
    /// Its patience is long, because other tests take the processors at the same time.
    private func look(
        at bytes: [UInt8], then answer: [UInt8] = [], handshake: Duration = .seconds(60),
        picture: Duration = .seconds(60)
    ) async throws -> RFBImage {
        let folder = FileManager.default.temporaryDirectory.path + "/rfb-" + UUID().uuidString.prefix(8)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Monologue(bytes, then: answer))
                }
            }
            .bind(unixDomainSocketPath: folder + "/vnc").get()
        let result: Result<RFBImage, any Error>
        do {
            let viewer = try await RFBClient.connect(path: folder + "/vnc", timeout: handshake)
            result = .success(try await viewer.screen(timeout: picture))
            await viewer.close()
        } catch { result = .failure(error) }
        try await server.close()
        return try result.get()
    }

    @Test("pixels arrive where and as they were sent")
    func picture() async throws {
        var pixels: [UInt8] = []
        for number: UInt8 in 0..<8 { pixels += [number, number + 100, number + 200, 0] }
        // A bell and a text on the clipboard in between change nothing.
        var bytes: [UInt8] = [2]
        bytes += [3, 0, 0, 0, 0, 0, 0, 1, 65]
        bytes += [0, 0, 0, 2]
        bytes += Self.rectangle(0, 0, 2, 2, 0) + pixels[..<16]
        bytes += Self.rectangle(2, 0, 2, 2, 0) + pixels[16...]
        let image = try await look(at: Self.greeting, then: bytes)
        #expect((image.width, image.height) == (4, 2))
        #expect(image[0, 0] == (200, 100, 0))
        #expect(image[1, 1] == (203, 103, 3))
        #expect(image[2, 0] == (204, 104, 4))
        #expect(image[3, 1] == (207, 107, 7))
        #expect(image.ppm.prefix(11) == ArraySlice("P6\n4 2\n255\n".utf8))
    }

    @Test(
        "what isn't RFB, or more than was asked for, ends the connection",
        arguments: [
            Array("HTTP/1.1 200".utf8),
            Array("RFB 003.003\n".utf8),
            version + [1, 1, 0, 0, 0, 0] + [255, 255, 255, 255] + [UInt8](repeating: 0, count: 20),
            version + [1, 1, 0, 0, 0, 0] + [0, 0, 0, 2] + [UInt8](repeating: 0, count: 20),
            greeting + [9],
            greeting + [0, 0, 0, 1] + rectangle(3, 0, 2, 1, 0),
            greeting + [0, 0, 0, 1] + rectangle(0, 1, 4, 2, 0),
            greeting + [0, 0, 0, 1] + rectangle(0, 0, 4, 2, 7),
            greeting + [0, 0, 0, 1] + rectangle(0, 0, 0, 0, -223),
            greeting + [3, 0, 0, 0, 255, 255, 255, 255],
        ])
    func lies(bytes: [UInt8]) async throws {
        await #expect {
            try await look(at: bytes)
        } throws: { error in
            if case RFBError.malformed = error { true } else { false }
        }
    }

    @Test("a server that refuses, or wants a password, is told apart")
    func refusals() async throws {
        let reason = Array("too many".utf8)
        await #expect(throws: RFBError.refused("too many")) {
            try await look(at: Self.version + [0, 0, 0, 0, 8] + reason)
        }
        await #expect(throws: RFBError.refused("too many")) {
            try await look(at: Self.version + [1, 1, 0, 0, 0, 1, 0, 0, 0, 8] + reason)
        }
        await #expect(throws: RFBError.refused("it wants a password")) {
            try await look(at: Self.version + [1, 2])
        }
    }

    @Test("a server that says nothing is not waited for")
    func silence() async throws {
        await #expect(throws: RFBError.timedOut("the handshake")) { try await look(at: [], handshake: .seconds(1)) }
        await #expect(throws: RFBError.timedOut("a picture")) {
            try await look(at: Self.greeting, picture: .seconds(1))
        }
    }
}

/// Says what it has to say as soon as somebody is there, whatever is said to it, but for one thing: the answer to the
/// first request for a picture.
private final class Monologue: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    /// What a request for a picture begins with, and its length.
    private static let request: (type: UInt8, length: Int) = (3, 10)
    private let bytes: [UInt8]
    private var answer: [UInt8]
    private var heard = ByteBuffer()

    init(_ bytes: [UInt8], then answer: [UInt8]) {
        self.bytes = bytes
        self.answer = answer
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
        context.fireChannelActive()
    }

    /// The request is the last thing that the viewer says before it waits.
    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        heard.writeImmutableBuffer(unwrapInboundIn(data))
        let end = heard.readableBytesView.suffix(Self.request.length)
        guard !answer.isEmpty, end.count == Self.request.length, end.first == Self.request.type else { return }
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: answer)), promise: nil)
        answer = []
    }
}
