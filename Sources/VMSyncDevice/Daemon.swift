import AsyncHTTPClient
import Foundation
import Logging
import NIOCore
import NIOPosix
import Synchronization
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy

/// A device's daemon: one host per VM, all fed by the server's events.
package actor Daemon {
    package nonisolated let environment: HostEnvironment
    nonisolated let client: SyncClient
    nonisolated let folders: DeviceFolders
    nonisolated let logger: Logger
    private(set) var hosts: [VMID: VMHost] = [:]
    private var tasks: [VMID: Task<Void, Never>] = [:]
    private var groups: [MultiThreadedEventLoopGroup] = []
    private var names: [VMID: String] = [:]
    private var devices: [DeviceRecord] = []
    private var serverAnswers = false
    private var seenInSnapshot: Set<VMID> = []
    private let snapshot = Gate()
    /// How long a command waits for a server that takes the connection and then says nothing.
    private static let snapshotLimit = Duration.seconds(5)

    package init(environment: HostEnvironment) {
        self.environment = environment
        client = environment.client
        folders = environment.folders
        logger = environment.logger
    }

    /// Follows the server until the task is cancelled. The VMs run on.
    package func run() async throws {
        let impatience = Task { [snapshot] in
            try? await Task.sleep(for: Self.snapshotLimit)
            snapshot.open()
        }
        defer {
            impatience.cancel()
            snapshot.open()
        }
        try await announceCapabilities()
        do {
            for try await event in client.events() { await handle(event) }
        } catch let error as VMSyncError where error.code == .cancelled {}
        for task in tasks.values { task.cancel() }
        for host in hosts.values { host.wake.signal() }
        for task in tasks.values { await task.value }
        for group in groups { try? await group.shutdownGracefully() }
    }

    private func announceCapabilities() async throws {
        do {
            try await client.setCapabilities(environment.capabilities)
        } catch let error as VMSyncError where error.code == .unavailable {
            // The VMs of this device run without the server, and the events tell when it is back.
            logger.warning("\(error.message)")
        }
    }

    private func handle(_ event: SyncEvent) async {
        switch event {
        case .vm(let record):
            seenInSnapshot.insert(record.id)
            await deliver(record)
        case .deleted(let id):
            forget(id)
        case .devices(let records):
            devices = records
        case .ready:
            serverAnswers = true
            for id in hosts.keys where !seenInSnapshot.contains(id) { forget(id) }
            saveKnown()
            snapshot.open()
        case .disconnected(let error):
            serverAnswers = false
            seenInSnapshot = []
            logger.notice("the server doesn't answer", metadata: ["reason": "\(error.message)"])
            await openKnown()
            for host in hosts.values { await host.deliver(nil) }
            snapshot.open()
        }
    }

    private func deliver(_ record: VMRecord) async {
        names[record.id] = record.name
        if let host = hosts[record.id] { return await host.deliver(record) }
        startHost(record, isCurrent: true)
        saveKnown()
    }

    private func startHost(_ record: VMRecord, isCurrent: Bool) {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let host = VMHost(
            record: record, isCurrent: isCurrent, environment: environment, thread: group.next())
        groups.append(group)
        hosts[record.id] = host
        known[record.id] = record
        tasks[record.id] = Task { await host.run() }
    }

    private func forget(_ id: VMID) {
        tasks.removeValue(forKey: id)?.cancel()
        hosts.removeValue(forKey: id)?.wake.signal()
        names[id] = nil
        known[id] = nil
    }

    // MARK: Without the server

    private var known: [VMID: VMRecord] = [:]
    private nonisolated var knownPath: String { folders.state + "/vms.json" }

    /// The VMs as the server last told, so that a daemon that starts without it adopts what runs here.
    private func saveKnown() {
        do { try AtomicFile.write(Array(known.values), to: knownPath) } catch { logger.warning("\(error.message)") }
    }

    private func openKnown() async {
        guard hosts.isEmpty, let records = try? AtomicFile.read([VMRecord].self, at: knownPath) else { return }
        for record in records {
            names[record.id] = record.name
            startHost(record, isCurrent: false)
        }
    }

    // MARK: What the control socket asks

    /// A command may come before a daemon that was just started knows what is here. It waits until the server has told
    /// its VMs, or is known not to answer, and each VM has been looked at.
    private func waitUntilKnown() async {
        await snapshot.wait()
        for host in hosts.values { await host.opened.wait() }
    }

    package func status() async -> DaemonStatus {
        await waitUntilKnown()
        let vms = hosts.values.map { host in
            var status = host.status
            status.name = names[host.id] ?? status.name
            status.activeDevice = activeDevice(of: status)
            return status
        }
        return DaemonStatus(
            device: environment.me.name, id: environment.me.id, server: environment.me.server,
            serverAnswers: serverAnswers, state: folders.state, pid: getpid(), vms: vms.sorted { $0.name < $1.name })
    }

    private func activeDevice(of status: VMStatus) -> String? {
        status.holder.map { holder in devices.first { $0.id == holder }?.name ?? "\(holder)" }
    }

    /// The host of the VM whose name, id or unique beginning of an id is `reference`.
    package func host(_ reference: String) async throws -> VMHost {
        await waitUntilKnown()
        let matches = hosts.values.filter { names[$0.id] == reference || $0.id.rawValue == reference }
        if let host = matches.first { return host }
        let prefixed = reference.count >= 4 ? hosts.values.filter { $0.id.rawValue.hasPrefix(reference) } : []
        guard let host = prefixed.first, prefixed.count == 1 else {
            throw VMSyncError(.notFound, "there is no VM \"\(reference)\"", hint: "vmsync list")
        }
        return host
    }

    func device(_ name: String?) throws(VMSyncError) -> DeviceRecord {
        let wanted = name ?? environment.me.name
        guard let device = devices.first(where: { $0.name == wanted || $0.id.rawValue == wanted }) else {
            throw VMSyncError(.notFound, "there is no device \"\(wanted)\"", hint: "vmsync devices")
        }
        return device
    }

    /// Takes in a VM that was just created here, so that its name is known when `create` returns.
    func accept(_ record: VMRecord) async { await deliver(record) }
}
