import Foundation
import Hummingbird
import HummingbirdTLS
import Logging
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP
import VMSyncPolicy
import VMSyncSecrets

/// Where the owner's other devices reach this one: thin routes that check who asks, decode, call the VM's host, and encode.
/// (docs/protocol/direct.md)
struct DirectServer {
    let daemon: Daemon
    /// As `0.0.0.0`.
    let host: String
    /// 0 for any free port.
    let port: Int

    /// - Parameter place: `HOST:PORT`.
    /// - Throws: `invalidInput` if it isn't.
    init(daemon: Daemon, at place: String) throws(VMSyncError) {
        guard let colon = place.lastIndex(of: ":"), let port = UInt16(place[place.index(after: colon)...]) else {
            throw VMSyncError(.invalidInput, "\"\(place)\" is no HOST:PORT", hint: "such as --direct 0.0.0.0:7431")
        }
        self.daemon = daemon
        host = place[..<colon].trimmingCharacters(in: ["[", "]"])
        self.port = Int(port)
    }

    /// A grant is a few kilobytes.
    private static let bodyMax = 256 << 10
    /// Far from where sums of them would overflow.
    private static let (numberMax, unitsMax) = (UInt64(1) << 62, 1 << 40)

    func application() throws -> some ApplicationProtocol {
        let links = daemon.environment.links
        var quiet = daemon.logger
        quiet.logLevel = .warning
        return Application(
            router: router,
            server: try .tls(
                .http1(),
                configuration: TLSChannelConfiguration(
                    tlsConfiguration: try PinnedTLS.server(daemon.account.keys),
                    // Whoever comes is known by his certificate, and looked for in the list of devices.
                    customVerificationCallback: { _, verdict in verdict.succeed(.certificateVerified) })),
            configuration: .init(address: .hostname(host, port: port), serverName: "vmsync"),
            onServerRunning: { channel in
                if let port = channel.localAddress?.port { await links.listens(at: host, port) }
            }, logger: quiet)
    }

    private var router: Router<DirectContext> {
        let router = Router(context: DirectContext.self)
        router.add(middleware: Problems<DirectContext>())
        router.add(middleware: OwnDevicesOnly(account: daemon.account))
        let vm = router.group("api/v1/direct/vms/:vm")
        let daemon = daemon
        @Sendable func host(_ context: DirectContext) async throws -> VMHost {
            try await daemon.host(try context.parameters.require("vm"))
        }
        vm.get { _, context in try json(try await host(context).directStanding()) }
        vm.put("packs/:sequence") { request, context in
            let number = UInt64(try context.parameters.require("sequence"))
            let epoch = request.uri.queryParameters.get("epoch", as: UInt64.self)
            let units = request.uri.queryParameters.get("units", as: Int.self)
            guard let number, let epoch, let units, max(number, epoch) < Self.numberMax, (0..<Self.unitsMax) ~= units
            else { throw VMSyncError(.invalidInput, "this is no pack") }
            let pack = DirectPack(
                sequence: Sequence(rawValue: number), epoch: Epoch(rawValue: epoch), units: units,
                size: try request.contentLength(max: APILimits.packBytesMax))
            return try json(try await host(context).receive(pack, request.body, from: try context.device()))
        }
        vm.post("grant") { request, context in
            let handovers = try await request.message(Handovers.self, bytesMax: Self.bodyMax)
            return try json(try await host(context).take(handovers, from: try context.device()))
        }
        vm.post("handover") { _, context in
            try json(try await daemon.handOver(try await host(context), to: try context.device()))
        }
        return router
    }
}

/// One request of another device.
private struct DirectContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    private let channel: any Channel
    fileprivate var member: DeviceID?

    init(source: Source) {
        coreContext = .init(source: source)
        channel = source.channel
    }

    func certificate() async throws -> [UInt8] { try await PinnedTLS.peer(of: channel) }

    func device() throws(VMSyncError) -> DeviceID {
        guard let member else { throw VMSyncError(.bug, "nobody has asked who this is") }
        return member
    }
}

private struct OwnDevicesOnly: RouterMiddleware {
    let account: Account

    func handle(
        _ request: Request, context: DirectContext, next: (Request, DirectContext) async throws -> Response
    ) async throws -> Response {
        let certificate = try await context.certificate()
        let id = SelfSignedCertificate.id(of: certificate)
        guard account.roster.members[id]?.certificate == Data(certificate) else {
            throw VMSyncError(.unauthorized, "this is none of the account's devices")
        }
        var context = context
        context.member = id
        return try await next(request, context)
    }
}
