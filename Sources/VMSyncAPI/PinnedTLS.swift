import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import VMSyncCore
import VMSyncSecrets

/// TLS 1.3 between two that know each other by their certificates' hashes. (docs/protocol/trust.md, "The wire")
package enum PinnedTLS {
    /// What both sides have in common. There are no names to verify: only the hash of a certificate counts.
    private static func pinned(_ base: TLSConfiguration, _ keys: DeviceKeys) throws -> TLSConfiguration {
        var configuration = base
        configuration.minimumTLSVersion = .tlsv13
        configuration.certificateVerification = .noHostnameVerification
        configuration.certificateChain = try certificateChain(keys)
        configuration.privateKey = try privateKey(keys)
        return configuration
    }

    private static func certificateChain(_ keys: DeviceKeys) throws -> [NIOSSLCertificateSource] {
        [.certificate(try NIOSSLCertificate(bytes: [UInt8](keys.identity.certificate), format: .der))]
    }

    private static func privateKey(_ keys: DeviceKeys) throws -> NIOSSLPrivateKeySource {
        .privateKey(try NIOSSLPrivateKey(bytes: [UInt8](keys.pem.utf8), format: .pem))
    }

    /// Of a server, which takes any certificate, and asks for one.
    package static func server(_ keys: DeviceKeys) throws -> TLSConfiguration {
        try pinned(
            .makeServerConfiguration(certificateChain: try certificateChain(keys), privateKey: try privateKey(keys)),
            keys)
    }

    /// Of a device, which takes this certificate and no other.
    /// - Parameter server: in DER.
    package static func client(_ keys: DeviceKeys, server: [UInt8]) throws -> TLSConfiguration {
        var configuration = try pinned(.makeClientConfiguration(), keys)
        configuration.trustRoots = .certificates([try NIOSSLCertificate(bytes: server, format: .der)])
        return configuration
    }

    /// The certificate of who is at the other end of a connection, in DER.
    /// - Throws: `unauthorized` if it has shown none.
    package static func peer(of channel: any Channel) async throws -> [UInt8] {
        guard let certificate = try await channel.nioSSL_peerCertificate().get() else {
            throw VMSyncError(.unauthorized, "this needs a certificate", hint: "vmsync join")
        }
        return try certificate.toDERBytes()
    }

    /// Asks the server at `address` for its certificate, in DER.
    /// - Throws: `unauthorized` if it isn't the server that the address names; `unavailable` if nobody answers.
    package static func certificate(of address: ServerAddress, _ keys: DeviceKeys) async throws -> [UInt8] {
        let context = try NIOSSLContext(configuration: pinned(.makeClientConfiguration(), keys))
        let seen = NIOLockedValueBox<[UInt8]?>(nil)
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(5))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let handshake = Handshake(done: channel.eventLoop.makePromise())
                        let client = try NIOSSLClientHandler(
                            context: context, serverHostname: nil,
                            customVerificationCallback: { certificates, verdict in
                                seen.withLockedValue { $0 = try? certificates.first?.toDERBytes() }
                                verdict.succeed(.certificateVerified)
                            })
                        try channel.pipeline.syncOperations.addHandlers(client, handshake)
                    }
                }
                .connect(host: address.host, port: address.port).get()
            try await channel.pipeline.handler(type: Handshake.self).map { $0.done }.get().futureResult.get()
            try? await channel.close().get()
        } catch {
            throw VMSyncError(
                .unavailable, "no sync server answers at \(address.url): \(error)",
                hint: "check that it runs there: vmsync server run")
        }
        guard let certificate = seen.withLockedValue({ $0 }), SelfSignedCertificate.id(of: certificate) == address.id
        else {
            throw VMSyncError(
                .unauthorized, "at \(address.url) is another server than the one that the address names",
                hint: "somebody may be between; get the address again from the server itself")
        }
        return certificate
    }
}

/// Tells when TLS is established, or that it can't be.
private final class Handshake: ChannelInboundHandler, Sendable {
    typealias InboundIn = Any
    let done: EventLoopPromise<Void>

    init(done: EventLoopPromise<Void>) { self.done = done }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .handshakeCompleted = event as? TLSUserEvent { done.succeed() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        done.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        done.fail(ChannelError.eof)
        context.fireChannelInactive()
    }
}
