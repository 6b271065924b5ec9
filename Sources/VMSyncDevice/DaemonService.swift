#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import Logging
import ServiceLifecycle
import UnixSignals
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncSecrets

/// What a daemon is started with.
package struct DaemonSettings: Sendable {
    package var folders: DeviceFolders
    /// What outweighs all that is set elsewhere.
    package var policy: PolicyLayer
    /// Where the owner's other devices reach this one, as `HOST:PORT`; nil for nowhere.
    package var direct: String?
    package var logger: Logger

    package init(folders: DeviceFolders, policy: PolicyLayer, direct: String?, logger: Logger) {
        self.folders = folders
        self.policy = policy
        self.direct = direct
        self.logger = logger
    }
}

/// The composition root of the daemon: identity, probes, hosts and control socket, until it is told to stop. VMs that run
/// here run on.
package enum DaemonService {
    /// - Parameter onRunning: called when the control socket answers.
    package static func run(
        _ settings: DaemonSettings, onRunning: @escaping @Sendable () async -> Void
    ) async throws {
        let folders = settings.folders
        try folders.make()
        let lock = try ProcessLock(path: folders.lock)
        defer { lock.release() }
        // States on their way into other VMs, of a daemon that was killed in the middle of it.
        AtomicFile.remove(folders.forks)
        let identity = try DeviceIdentity.load(folders)
        guard let keys = try DeviceKeys.load(folders) else {
            throw VMSyncError(
                .corrupt, "\(folders.keys) is missing: this device can't prove who it is", hint: "vmsync join")
        }
        let meter = TrafficMeter()
        let conditions = try DeviceConditions(
            folders: folders, meter: meter, commandLine: settings.policy, logger: settings.logger)
        let http = try SyncClient.makeHTTPClient(keys, server: Array(identity.serverCertificate), meter: meter)
        do {
            let client = SyncClient(servers: ServerRing(identity.servers), httpClient: http)
            let account = try Account.load(folders, client: client, logger: settings.logger)
            let capabilities = await HostCapabilities.probe(folder: folders.run, logger: settings.logger)
            let bootID = try OverlayDisk.currentBootID()
            let environment = HostEnvironment(
                me: identity, folders: folders, client: client, account: account,
                images: ImageStore(folder: folders.images, client: client, account: account, bootID: bootID),
                capabilities: capabilities,
                ramwatch: RamwatchLibrary.path, bootID: bootID,
                conditions: conditions,
                links: DirectLinks(account, path: folders.addresses, logger: settings.logger), logger: settings.logger)
            let served: Result<Void, any Error>
            do {
                served = .success(
                    try await serve(Daemon(environment: environment), settings.direct, onRunning: onRunning))
            } catch { served = .failure(error) }
            await environment.links.close()
            conditions.saveTraffic()
            try served.get()
        } catch {
            try await http.shutdown()
            throw error
        }
        try await http.shutdown()
    }

    private static func serve(
        _ daemon: Daemon, _ direct: String?, onRunning: @escaping @Sendable () async -> Void
    ) async throws {
        let control = ControlServer(daemon: daemon, socket: daemon.folders.control, logger: daemon.logger)
        var services: [ServiceGroupConfiguration.ServiceConfiguration] = [
            .init(service: control.application(onRunning: onRunning)),
            .init(service: CancelledOnShutdown { try await daemon.run() }),
        ]
        if let direct {
            let application = try DirectServer(daemon: daemon, at: direct).application()
            // The others keep their connections; none is waited for.
            services.append(.init(service: CancelledOnShutdown { try await application.run() }))
            services.append(.init(service: CancelledOnShutdown { await daemon.environment.links.followNetwork() }))
        } else {
            await daemon.environment.links.staysAlone()
        }
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: daemon.logger))
        try await group.run()
        AtomicFile.remove(daemon.folders.control)
    }
}

/// A service that ends by being cancelled.
private struct CancelledOnShutdown: Service {
    let body: @Sendable () async throws -> Void

    init(_ body: @escaping @Sendable () async throws -> Void) { self.body = body }

    func run() async throws { try await cancelWhenGracefulShutdown { try await body() } }
}

/// Keeps a second daemon from the same state folder; the kernel takes it back when the process ends, however it ends.
private final class ProcessLock: Sendable {
    private let descriptor: Int32

    init(path: String) throws(VMSyncError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw VMSyncError(.wrongState, "a daemon runs already on this state folder", hint: "vmsync status")
        }
    }

    func release() { close(descriptor) }
}

/// Where libramwatch.so is: beside the program, or where a package puts it.
package enum RamwatchLibrary {
    package static var path: String? {
        let program = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let folder = (program as NSString).deletingLastPathComponent
        // Who names one gets that one or none.
        let named = ProcessInfo.processInfo.environment["VMSYNC_RAMWATCH"].map { [$0] }
        let places = named ?? [folder + "/libramwatch.so", folder + "/../lib/vmsync/libramwatch.so"]
        return places.first { FileManager.default.fileExists(atPath: $0) }
    }
}
