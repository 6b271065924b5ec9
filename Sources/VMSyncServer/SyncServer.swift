#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import Hummingbird
import HummingbirdTLS
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP
import VMSyncSecrets
import VMSyncStore

/// The sync server: its stores, an address, and a service that runs until it is stopped.
package struct SyncServer: Service {
    package struct Configuration: Sendable {
        /// As `127.0.0.1`, `::1` or `0.0.0.0`.
        package var address: String
        /// 0 for any free port.
        package var port: Int
        /// Where devices reach it, as `https://HOST:PORT`; nil for where it listens.
        package var advertised: String?
        /// Where everything is kept.
        package var places: StorePlaces
        /// Variables that hold the credentials of an S3 store.
        package var environment: [String: String]
        /// Between two comments on an event stream that has nothing to say.
        package var heartbeat: Duration = APILimits.heartbeat
        /// After this long without a byte read or written a connection is closed: a reader that stopped reading, an
        /// upload that stalled. Long enough for the fsync of a large pack on a slow disk.
        package var silenceMax: Duration = .seconds(120)

        package init(
            address: String = "127.0.0.1", port: Int = 0, places: StorePlaces, environment: [String: String] = [:]
        ) {
            self.address = address
            self.port = port
            self.places = places
            self.environment = environment
        }
    }

    /// What is known once the server listens.
    package struct Listening: Sendable, Codable {
        /// Such as `https://127.0.0.1:7430/#…`: where the server is, and by what it is known.
        package let listening: String
        /// For the first device, if none has joined yet.
        package let invitation: String?
    }

    private let configuration: Configuration
    private let logger: Logger
    private let clock: (@Sendable () -> Timestamp)?
    private let onListening: @Sendable (Listening) async -> Void

    /// - Parameters:
    ///   - clock: instead of the store's; for tests only.
    ///   - onListening: called once, when devices can connect.
    package init(
        configuration: Configuration, logger: Logger, clock: (@Sendable () -> Timestamp)? = nil,
        onListening: @escaping @Sendable (Listening) async -> Void
    ) {
        self.configuration = configuration
        self.logger = logger
        self.clock = clock
        self.onListening = onListening
    }

    /// Serves until its task is cancelled or its service group shuts down.
    /// - Throws: `wrongState` if another server owns the data folder;
    ///   what opening the stores or binding the address throws.
    package func run() async throws {
        let stores = try await ServerStores(
            configuration.places, credentials: configuration.environment, clock: clock)
        let result: Result<Void, any Error>
        do { result = .success(try await serve(stores)) } catch { result = .failure(error) }
        try await stores.close()
        try result.get()
    }

    private func serve(_ stores: ServerStores) async throws {
        let service = SyncService(
            metadata: stores.metadata, blobs: stores.blobs, events: EventHub(), logger: logger)
        let collector = GarbageCollector(metadata: stores.metadata, blobs: stores.blobs, logger: logger)
        // Nobody else is there: devices that seem to be, and blobs without a name, are what a crash has left.
        if stores.ownsMetadata { try await stores.metadata.allLeft() }
        if stores.ownsBlobs { try await collector.collect(olderThan: .zero) }
        let keys = try DeviceKeys(
            json: Data(
                try await stores.metadata.serverKeys(
                    orKeep: Array(try DeviceKeys(now: Date().timeIntervalSince1970).json()))))
        let feed = Task { await ChangeFeed(service: service).run() }
        let collection = Task { try await collector.run() }
        defer {
            feed.cancel()
            collection.cancel()
        }
        let presence = ServerPresence(service: service)
        let result: Result<Void, any Error>
        do { result = .success(try await serve(service, keys, presence)) } catch { result = .failure(error) }
        await presence.end()
        try result.get()
    }

    private func serve(_ service: SyncService, _ keys: DeviceKeys, _ presence: ServerPresence) async throws {
        let silence = TimeAmount(configuration.silenceMax)
        let address = configuration.address == "localhost" ? "127.0.0.1" : configuration.address
        let application = Application(
            router: Routes(service: service, heartbeat: configuration.heartbeat).router(),
            server: try .tls(
                .http1(
                    configuration: .init(
                        additionalChannelHandlers: [IdleStateHandler(allTimeout: silence), SilenceHandler()])),
                configuration: TLSChannelConfiguration(
                    tlsConfiguration: try PinnedTLS.server(keys),
                    // Whoever comes is known by the hash of his certificate, and what he may do is decided then.
                    customVerificationCallback: { _, verdict in verdict.succeed(.certificateVerified) })),
            configuration: .init(address: .hostname(address, port: configuration.port), serverName: "vmsync"),
            onServerRunning: { await announce($0, service, keys.id, presence) }, logger: logger)
        do {
            try await application.run()
        } catch let error as IOError {
            throw VMSyncError(
                .unavailable, "can't listen on \(address):\(configuration.port): \(error.description)",
                hint: "choose another port with --listen")
        }
    }

    private func announce(
        _ channel: any Channel, _ service: SyncService, _ id: DeviceID, _ presence: ServerPresence
    ) async {
        let here = ServerAddress(
            host: channel.localAddress?.ipAddress ?? configuration.address,
            port: channel.localAddress?.port ?? configuration.port, id: id)
        var invitation: String?
        do {
            if try await !service.metadata.hasAccounts() {
                invitation = try await SyncService.invite(to: service.metadata).invitation
            }
        } catch {
            logger.error("no first invitation", metadata: ["error": "\(error)"])
        }
        let url = configuration.advertised ?? here.url
        await presence.begin(url)
        await onListening(Listening(listening: "\(url)/#\(id)", invitation: invitation))
    }

    /// Makes an invitation in a store, also while a server runs on it.
    /// - Throws: `notFound` if no server ever ran on it.
    package static func invite(to places: StorePlaces) async throws -> Invitation {
        let metadata = try await places.openExistingMetadata()
        let invitation = try await SyncService.invite(to: metadata)
        try await metadata.close()
        return invitation
    }
}

/// Closes a connection on which nothing moves, or whose other end is gone.
private final class SilenceHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any

    /// What isn't acknowledged within this time never will be; in milliseconds. An event stream that is written to every
    /// heartbeat so tells that its device is gone.
    private static let lostAfter = 20_000

    func handlerAdded(context: ChannelHandlerContext) {
        let option = NIOBSDSocket.Option(rawValue: TCP_USER_TIMEOUT)
        // Without it a device that is gone is noticed later.
        context.channel.setOption(.tcpOption(option), value: Self.lostAfter).whenFailure { _ in }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is IdleStateHandler.IdleStateEvent else { return context.fireUserInboundEventTriggered(event) }
        context.close(promise: nil)
    }
}
