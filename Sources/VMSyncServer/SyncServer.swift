import Hummingbird
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import VMSyncAPI
import VMSyncCore
import VMSyncStore

/// The sync server: its stores, an address, and a service that runs until it is stopped.
package struct SyncServer: Service {
    package struct Configuration: Sendable {
        /// A loopback address, as `127.0.0.1` or `::1`.
        package var address: String
        /// 0 for any free port.
        package var port: Int
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
        /// Such as `http://127.0.0.1:7430`.
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
    /// - Throws: `invalidInput` for an address that isn't loopback; `wrongState` if another server owns the data folder;
    ///   what opening the stores or binding the address throws.
    package func run() async throws {
        let address = try loopback()
        let stores = try await ServerStores(
            configuration.places, credentials: configuration.environment, clock: clock)
        let result: Result<Void, any Error>
        do { result = .success(try await serve(stores, at: address)) } catch { result = .failure(error) }
        try await stores.close()
        try result.get()
    }

    private func serve(_ stores: ServerStores, at address: String) async throws {
        let service = SyncService(
            metadata: stores.metadata, blobs: stores.blobs, events: EventHub(), logger: logger)
        let collector = GarbageCollector(metadata: stores.metadata, blobs: stores.blobs, logger: logger)
        // Nobody else is there: devices that seem to be, and blobs without a name, are what a crash has left.
        if stores.ownsMetadata { try await stores.metadata.allLeft() }
        if stores.ownsBlobs { try await collector.collect(olderThan: .zero) }
        let feed = Task { await ChangeFeed(service: service).run() }
        let collection = Task { try await collector.run() }
        defer {
            feed.cancel()
            collection.cancel()
        }
        try await serve(service, at: address)
    }

    private func serve(_ service: SyncService, at address: String) async throws {
        let silence = TimeAmount(configuration.silenceMax)
        let application = Application(
            router: Routes(service: service, heartbeat: configuration.heartbeat).router(),
            server: .http1(
                configuration: .init(
                    additionalChannelHandlers: [IdleStateHandler(allTimeout: silence), SilenceHandler()])),
            configuration: .init(address: .hostname(address, port: configuration.port), serverName: "vmsync"),
            onServerRunning: { await announce($0, service) }, logger: logger)
        do {
            try await application.run()
        } catch let error as IOError {
            throw VMSyncError(
                .unavailable, "can't listen on \(address):\(configuration.port): \(error.description)",
                hint: "choose another port with --listen")
        }
    }

    private func announce(_ channel: any Channel, _ service: SyncService) async {
        let host = channel.localAddress?.ipAddress ?? configuration.address
        let port = channel.localAddress?.port ?? configuration.port
        var invitation: String?
        do {
            if try await service.devices().isEmpty { invitation = try await service.invite().invitation }
        } catch {
            logger.error("no first invitation", metadata: ["error": "\(error)"])
        }
        let url = "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
        await onListening(Listening(listening: url, invitation: invitation))
    }

    /// The address, if it is one that only this machine can reach.
    private func loopback() throws(VMSyncError) -> String {
        let text = configuration.address == "localhost" ? "127.0.0.1" : configuration.address
        guard text == "::1" || (text.hasPrefix("127.") && (try? SocketAddress(ipAddress: text, port: 0)) != nil) else {
            throw VMSyncError(
                .invalidInput,
                "the server listens on loopback only, not on \(text): it has no TLS yet, and checkpoints hold the "
                    + "guest's memory with all its passwords",
                hint: "listen on 127.0.0.1, and reach it through: ssh -L")
        }
        return text
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

/// Closes a connection on which nothing moves.
private final class SilenceHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = Any

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event is IdleStateHandler.IdleStateEvent else { return context.fireUserInboundEventTriggered(event) }
        context.close(promise: nil)
    }
}
