import Foundation
import NIOCore
import NIOPosix
import NIOSSL
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets

/// A connection that keeps none of HTTP's promises.
struct RawConnection {
    private let channel: any Channel

    /// - Parameter reads: false for one that takes nothing that comes, once TLS is there.
    init(_ server: String, _ device: TestDevice, reads: Bool = true) async throws {
        let address = try ServerAddress(server)
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        let certificate = try NIOSSLCertificate(bytes: [UInt8](device.keys.identity.certificate), format: .der)
        configuration.certificateChain = [.certificate(certificate)]
        configuration.privateKey = .privateKey(try NIOSSLPrivateKey(bytes: [UInt8](device.keys.pem.utf8), format: .pem))
        let context = try NIOSSLContext(configuration: configuration)
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(ChannelOptions.socketOption(.so_rcvbuf), value: reads ? 1 << 18 : 2048)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: context, serverHostname: nil))
                }
            }
            .connect(host: address.host, port: address.port).get()
    }

    func send(_ text: String) async throws { try await channel.writeAndFlush(ByteBuffer(string: text)) }

    func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    /// Takes nothing any more that comes.
    func stopReading() async throws { try await channel.setOption(ChannelOptions.autoRead, value: false).get() }

    func close() async throws { try await channel.close().get() }
}
