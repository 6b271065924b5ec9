import Foundation
import NIOCore
import NIOPosix
import QMP

/// A server on a unix socket that says what the test tells it to, in place of QEMU.
struct HostilePeer: Sendable {
    /// What to do at one point of the talk.
    enum Move: Sendable {
        case say(String)
        case sayAndClose(String)
        case stayQuiet
    }

    static let greeting =
        #"{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}}}"# + "\r\n"

    /// What to do when a client comes.
    var onConnect = Move.say(greeting)
    /// What to do when `qmp_capabilities` comes.
    var onNegotiate: @Sendable (_ id: Int) -> Move = { .say(done($0)) }
    /// What to do for any later command.
    var onCommand: @Sendable (_ id: Int) -> Move = { .say(done($0)) }

    /// The line that answers command `id`.
    static func done(_ id: Int) -> String { #"{"return": {}, "id": \#(id)}"# + "\r\n" }

    /// Serves at a path of its own while `body` runs.
    func serve(_ body: (_ path: String) async throws -> Void) async throws {
        let directory = try Scratch.make()
        defer { Scratch.remove(directory) }
        let path = directory + "/qmp"
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(HostileHandler(self))
                }
            }
            .bind(unixDomainSocketPath: path).get()
        do {
            try await body(path)
        } catch {
            try await server.close()
            throw error
        }
        try await server.close()
    }

    /// Serves a client that got through the negotiation.
    func withClient(_ body: (QMPClient) async throws -> Void) async throws {
        try await serve { path in
            let client = try await QMPClient.connect(path: path, logger: .quiet)
            try await body(client)
            await client.close()
        }
    }
}

private final class HostileHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private struct Command: Decodable {
        let execute: String
        let id: Int
    }

    private let peer: HostilePeer
    private var input = ByteBuffer()

    init(_ peer: HostilePeer) {
        self.peer = peer
    }

    func channelActive(context: ChannelHandlerContext) {
        make(peer.onConnect, context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        input.writeImmutableBuffer(unwrapInboundIn(data))
        while let end = input.readableBytesView.firstIndex(of: UInt8(ascii: "\n")),
            let line = input.readBytes(length: end + 1 - input.readerIndex),
            let command = try? JSONDecoder().decode(Command.self, from: Data(line))
        {
            let isNegotiation = command.execute == "qmp_capabilities"
            make(isNegotiation ? peer.onNegotiate(command.id) : peer.onCommand(command.id), context)
        }
    }

    private func make(_ move: HostilePeer.Move, _ context: ChannelHandlerContext) {
        switch move {
        case .say(let text):
            context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
        case .sayAndClose(let text):
            context.writeAndFlush(NIOAny(ByteBuffer(string: text)), promise: nil)
            context.close(promise: nil)
        case .stayQuiet: break
        }
    }
}
