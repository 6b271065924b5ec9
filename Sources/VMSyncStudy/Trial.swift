#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import Synchronization
import VMSyncAPI
import VMSyncCore
import VMSyncDevice
import VMSyncMachine
import VMSyncSecrets

/// Where the servers of a trial keep what they have.
package enum TrialStores: Sendable {
    /// In a folder of the trial; then there is one server.
    case folder
    /// Where several servers may, with the variables that open it.
    case shared(metadata: String, blobs: String, environment: [String: String])

    fileprivate func arguments(folder: String) -> [String] {
        switch self {
        case .folder: ["--data", folder]
        case .shared(let metadata, let blobs, _): ["--metadata", metadata, "--blobs", blobs]
        }
    }

    fileprivate var environment: [String: String] {
        if case .shared(_, _, let environment) = self { environment } else { [:] }
    }
}

/// A sync server and some devices on loopback, each a real process with a folder of its own. What `vmsync demo` and the
/// end-to-end tests live in.
///
/// With a link the server is on its far side, as are the devices that are made there, and what crosses it is counted.
package actor Trial {
    /// A daemon probes two QEMUs before it answers; a busy host takes its time.
    private static let startLimit = Duration.seconds(60)

    package nonisolated let folder: String
    package nonisolated let program: String
    /// Where devices reach the server.
    private var address: ServerAddress?
    /// Where each server listens, also after its end.
    private var listening: [Int: ServerAddress] = [:]
    private var invitation: String?
    private var servers: [Int: ChildProcess] = [:]
    private let stores: TrialStores
    private var daemons: [String: ChildProcess] = [:]
    private var joined: [String] = []
    private let link: ShapedLink?
    /// Where the devices listen for each other; `off` so that all goes over the server.
    private let direct: String
    private let home: HomeNetwork?
    /// In whose far side a device runs; the others run here.
    private var places: [String: ShapedLink] = [:]
    /// Of the account, as it was shown last.
    package nonisolated let recoveryKey = Mutex("")

    /// Where the first server listens.
    package var serverPort: Int { listening[0]?.port ?? 0 }

    /// The address of the server, as a person passes it on.
    package var url: String { address?.text ?? "" }

    /// - Parameter program: the `vmsync` to run.
    package init(
        program: String, link: ShapedLink? = nil, home: HomeNetwork? = nil, stores: TrialStores = .folder,
        direct: String = "off"
    ) throws(VMSyncError) {
        self.program = program
        self.direct = direct
        self.home = home
        self.link = link
        self.stores = stores
        folder = "\(NSTemporaryDirectory())/vmsync-trial-\(Identifier.random().prefix(10))"
            .replacing("//", with: "/")
        try AtomicFile.makeFolder(folder)
    }

    /// Runs `body` in a new trial and leaves nothing behind, whatever happens.
    package static func with<Result: Sendable>(
        program: String, link: ShapedLink? = nil, home: HomeNetwork? = nil, stores: TrialStores = .folder,
        direct: String = "off", _ body: (Trial) async throws -> Result
    ) async throws -> Result {
        let trial = try Trial(program: program, link: link, home: home, stores: stores, direct: direct)
        do {
            let result = try await body(trial)
            await trial.end()
            return result
        } catch {
            await trial.end()
            throw error
        }
    }

    // MARK: Server

    /// What the server keeps in a folder is here.
    package nonisolated var serverFolder: String { "\(folder)/server" }

    /// Starts a server, on the port that it had before.
    /// - Parameters:
    ///   - number: of the servers on one store, from 0.
    ///   - fault: what to plant, as in `Fault`.
    package func startServer(_ number: Int = 0, fault: String? = nil) async throws {
        let port = listening[number]?.port ?? 0
        let host = home?.serverAddress ?? link?.farAddress ?? "127.0.0.1"
        let log = "\(folder)/server-\(Identifier.random().prefix(6)).log"
        let process = try start(
            ["server", "run", "--listen", "\(host):\(port)", "--json"] + stores.arguments(folder: serverFolder),
            in: link, environment: Self.environment(fault).merging(stores.environment) { $1 }, log: log)
        servers[number] = process
        let first = try await waitFor("the server to start", for: Self.startLimit) {
            guard process.isRunning else { throw VMSyncError(.unavailable, "the server ended: \(process.output)") }
            return process.output.split(separator: "\n").first { $0.hasPrefix("{") }
        }
        let announced = try JSONDecoder().decode(Announcement.self, from: Data(first.utf8))
        let here = try ServerAddress(announced.listening)
        listening[number] = here
        address = address ?? here
        invitation = announced.invitation ?? invitation
    }

    /// Lets devices that join from now on reach the server at another port, which leads there.
    package func reach(through port: Int) {
        address = address.map { ServerAddress(host: $0.host, port: port, id: $0.id) }
    }

    /// Starts `program` here or on the far side of a link.
    private func start(
        _ arguments: [String], in link: ShapedLink?, environment: [String: String], log: String
    ) throws(VMSyncError) -> ChildProcess {
        guard let link else { return try ChildProcess(program, arguments, environment: environment, log: log) }
        // Through env, which finds the next program by PATH and becomes it.
        let words = link.farCommand([program] + arguments)
        return try ChildProcess("/usr/bin/env", words, environment: environment, log: log)
    }

    private struct Announcement: Decodable {
        let listening: String
        let invitation: String?
    }

    package func endServer(_ number: Int = 0, _ signal: Int32 = SIGKILL) async {
        await servers.removeValue(forKey: number)?.end(signal)
    }

    package var serverIsRunning: Bool { servers[0]?.isRunning ?? false }

    // MARK: Devices

    package nonisolated func folders(_ device: String) -> DeviceFolders {
        DeviceFolders(state: "\(folder)/\(device)")
    }

    package nonisolated func paths(_ device: String, _ vm: VMID) -> MachinePaths { folders(device).machine(vm) }

    /// Makes a new device that has joined, and starts its daemon.
    /// - Parameters:
    ///   - isFar: whether it is on the far side of the link.
    ///   - number: in the house, from 0, if there is one.
    ///   - isMirror: whether it never runs a VM.
    package func addDevice(
        _ name: String, isFar: Bool = false, inHouse number: Int? = nil, isMirror: Bool = false, fault: String? = nil,
        interval: Double? = 1,
        environment: [String: String] = [:]
    ) async throws {
        places[name] = number.flatMap { home?.lines[$0] } ?? (isFar ? link : nil)
        let code: String
        if let invitation, joined.isEmpty {
            code = invitation
        } else {
            code = try await control(joined[0]) { client in
                try await client.post(ControlPath.invitations, as: Invitation.self).invitation
            }
        }
        let invitation = try InvitationCode(typed: code)
        try await join(
            name, invitation.kind == .member ? .invited(invitation) : .founding(invitation), isMirror: isMirror)
        try await startDaemon(name, fault: fault, interval: interval, environment: environment)
    }

    /// Makes a new device that comes in by the recovery key that was shown last, and starts its daemon.
    package func recover(_ name: String, interval: Double? = 1) async throws {
        try await join(name, .recovery(try RecoveryKey(typed: recoveryKey.withLock { $0 })))
        try await startDaemon(name, interval: interval)
    }

    private func join(_ name: String, _ way: Joining.Way, isMirror: Bool = false) async throws {
        var joining = try Joining(server: url, name: name, folders: folders(name))
        joining.isMirror = isMirror
        _ = try await joining.run(way) { notice in
            if case .recoveryKey(let key) = notice { self.recoveryKey.withLock { $0 = key.text } }
        }
        joined.append(name)
    }

    /// Loses a device: its processes end and its folders are removed.
    package func destroy(_ name: String) async {
        await endDaemon(name)
        let folders = folders(name)
        await Self.endMachines(folders)
        for place in [folders.state, folders.run, folders.memory] { AtomicFile.remove(place) }
        joined.removeAll { $0 == name }
    }

    private static func endMachines(_ folders: DeviceFolders) async {
        for machine in (try? FileManager.default.contentsOfDirectory(atPath: folders.run)) ?? [] {
            let paths = MachinePaths(state: "", run: "\(folders.run)/\(machine)", memory: "")
            await QEMUProcess.find(paths)?.waitGone(killAfter: .zero)
        }
    }

    /// - Parameters:
    ///   - interval: seconds between checkpoints; nil leaves that to the policy.
    ///   - environment: variables to add.
    package func startDaemon(
        _ name: String, fault: String? = nil, interval: Double? = 1, environment: [String: String] = [:]
    ) async throws {
        let folders = folders(name)
        // In a network of their own they don't speak for this host.
        let bus = home.map { _ in ["DBUS_SYSTEM_BUS_ADDRESS": "unix:path=\(folder)/no-bus"] } ?? [:]
        let process = try start(
            ["daemon", "run", "--state", folders.state, "--direct", direct]
                + (interval.map { ["--every", "\(Int($0 * 1000))ms"] } ?? []),
            in: places[name], environment: Self.environment(fault).merging(bus) { $1 }.merging(environment) { $1 },
            log: "\(folder)/\(name).log")
        daemons[name] = process
        _ = try await waitFor("the daemon of \(name) to start", for: Self.startLimit) { () -> DaemonStatus? in
            guard process.isRunning else {
                throw VMSyncError(.unavailable, "\(name) ended: \(process.output.suffix(500))")
            }
            return try? await self.status(name)
        }
    }

    package func endDaemon(_ name: String, _ signal: Int32 = SIGKILL) async {
        await daemons.removeValue(forKey: name)?.end(signal)
    }

    package func daemonIsRunning(_ name: String) -> Bool { daemons[name]?.isRunning ?? false }

    private static func environment(_ fault: String?) -> [String: String] {
        // An empty value plants nothing, also where the caller's own environment has a fault.
        ["VMSYNC_FAULT": fault ?? "", "SWIFT_BACKTRACE": "enable=no"]
    }

    /// Calls `body` with a client of the daemon of `device`.
    package nonisolated func control<Result>(
        _ device: String, _ body: (ControlClient) async throws -> Result
    ) async throws -> Result {
        try await ControlClient.with(socket: folders(device).control, body)
    }

    package nonisolated func status(_ device: String) async throws -> DaemonStatus {
        try await control(device) { try await $0.get(ControlPath.status, as: DaemonStatus.self) }
    }

    /// The one VM of the trial, as `device` sees it; nil if it doesn't know it yet.
    package nonisolated func vm(_ device: String) async throws -> VMStatus? { try await status(device).vms.first }

    // MARK: Waiting

    /// Waits until `standby` holds the head and has a QEMU ready to take the VM.
    package nonisolated func waitUntilReady(_ standby: String, atLeast sequence: Sequence = .base) async throws {
        _ = try await waitFor("\(standby) to be up to date") { () -> VMStatus? in
            guard let vm = try await self.vm(standby), vm.state == .upToDate, vm.sequence > .base,
                vm.sequence >= sequence, vm.machine?.state == "waiting"
            else { return nil }
            return vm
        }
    }

    // MARK: The end

    /// Ends every process of the trial, QEMUs included, and removes its folders.
    package func end() async {
        for name in daemons.keys { await endDaemon(name, SIGTERM) }
        for number in servers.keys { await endServer(number, SIGTERM) }
        // One that was refused when it joined has folders too.
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
            let folders = folders(name)
            await Self.endMachines(folders)
            for place in [folders.run, folders.memory] { AtomicFile.remove(place) }
        }
        // Kept on request, to see what went wrong in it.
        if ProcessInfo.processInfo.environment["VMSYNC_KEEP_TRIAL"] == nil { AtomicFile.remove(folder) }
    }
}
