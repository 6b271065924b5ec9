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
import VMSyncSecrets

/// A device's daemon: one host per VM, all fed by the server's events.
package actor Daemon {
    package nonisolated let environment: HostEnvironment
    nonisolated let client: SyncClient
    nonisolated let account: Account
    nonisolated let folders: DeviceFolders
    nonisolated let logger: Logger
    private(set) var hosts: [VMID: VMHost] = [:]
    private var tasks: [VMID: Task<Void, Never>] = [:]
    private var groups: [MultiThreadedEventLoopGroup] = []
    /// VMs whose description can't be read yet.
    private var unreadable: [VMID: VMRecord] = [:]
    private nonisolated let accountChanged = WakeSignal()
    /// What this device tells the others of itself may be news.
    nonisolated let profileChanged = WakeSignal()
    private(set) var devices: [DeviceRecord] = []
    private(set) var serverAnswers = false
    private var seenInSnapshot: Set<VMID> = []
    private let snapshot = Gate()
    /// VMs that are being made here of a state of another, and don't have it yet. Nobody here sees them.
    private var unborn: Set<VMID>
    /// Those of them that nobody is making any more.
    private var abandoned: Set<VMID>
    /// How long a command waits for a server that takes the connection and then says nothing.
    private static let snapshotLimit = Duration.seconds(5)
    /// Before the list of devices is asked for again that could not be had.
    private static let accountRest = Duration.seconds(5)
    /// Before a device that was refused asks again: it seldom helps.
    private static let refusalRest = Duration.seconds(30)

    package init(environment: HostEnvironment) {
        self.environment = environment
        client = environment.client
        account = environment.account
        folders = environment.folders
        logger = environment.logger
        let known = AtomicFile.readIfWhole([VMID].self, at: folders.unborn) { [logger] in
            logger.warning("\($0.message)")
        }
        unborn = Set(known ?? [])
        abandoned = unborn
    }

    /// Follows the server until the task is cancelled. The VMs run on.
    package func run() async throws {
        let impatience = Task { [snapshot] in
            try? await Task.sleep(for: Self.snapshotLimit)
            snapshot.open()
        }
        let follower = Task { await followAccount() }
        let watcher = Task { await followHost() }
        let announcer = Task { await announceItself() }
        defer {
            impatience.cancel()
            follower.cancel()
            watcher.cancel()
            announcer.cancel()
            snapshot.open()
        }
        do { try await followEvents() } catch let error as VMSyncError where error.code == .cancelled {}
        for task in tasks.values { task.cancel() }
        for host in hosts.values { host.wake.signal() }
        for task in tasks.values { await task.value }
        for group in groups { try? await group.shutdownGracefully() }
    }

    /// - Throws: `cancelled`.
    private func followEvents() async throws {
        while true {
            do {
                for try await event in client.events() { await handle(event) }
            } catch let error as VMSyncError where error.code == .unauthorized {
                // Its VM runs on, for its disk is served here; what was done since is lost to the others, and they to it.
                await handle(.disconnected(error))
                do { try await Task.sleep(for: Self.refusalRest) } catch { throw VMSyncError(error) }
            }
        }
    }

    private func handle(_ event: SyncEvent) async {
        switch event {
        case .vm(let record):
            seenInSnapshot.insert(record.id)
            await deliver(record)
        case .deleted(let id):
            await forget(id)
        case .devices(let records):
            devices = records
            accountChanged.signal()
            await learnAddresses()
            await notePresence()
        case .servers(let urls):
            if client.servers.learn(urls) { await saveServers() }
        case .ready:
            serverAnswers = true
            await notePresence()
            profileChanged.signal()
            for id in hosts.keys where !seenInSnapshot.contains(id) { await forget(id) }
            // Apart from the events, which mustn't wait for it.
            Task { await removeAbandoned() }
            saveKnown()
            snapshot.open()
        case .disconnected(let error):
            serverAnswers = false
            seenInSnapshot = []
            logger.notice("the server doesn't answer", metadata: ["reason": "\(error.message)"])
            await openKnown()
            for host in hosts.values { await host.deliver(nil) }
            await notePresence()
            snapshot.open()
        }
    }

    private func deliver(_ record: VMRecord) async {
        if let host = hosts[record.id] { return await host.deliver(record) }
        guard let description = await describe(record) else { return }
        startHost(record, description, isCurrent: true)
        saveKnown()
    }

    /// What the VM is; nil if it can't be read, until this device has the key.
    private func describe(_ record: VMRecord) async -> VMDescription? {
        do {
            unreadable[record.id] = nil
            return try readDescription(record)
        } catch let error as VMSyncError where error.code == .unauthorized {
            do {
                try await account.refresh()
                return try readDescription(record)
            } catch {
                logger.warning("\(VMSyncError(error).message)", metadata: ["vm": "\(record.id)"])
            }
        } catch {
            logger.error("\(VMSyncError(error).message)", metadata: ["vm": "\(record.id)"])
        }
        unreadable[record.id] = record
        return nil
    }

    private func readDescription(_ record: VMRecord) throws -> VMDescription {
        try VMDescription(Data(try account.decrypt(record.description, .vm(record.id), of: .vm(record.id))))
    }

    /// Keeps in step with the list of devices, apart from the events of VMs, which mustn't wait for it.
    private func followAccount() async {
        var failed = false
        while !Task.isCancelled {
            await accountChanged.wait(until: failed ? .now + Self.accountRest : nil)
            guard !Task.isCancelled else { return }
            do {
                try await account.refresh()
                try await account.answerApplicants()
                failed = false
            } catch {
                failed = true
                logger.warning("\(VMSyncError(error).message)")
            }
            for record in unreadable.values { await deliver(record) }
        }
    }

    private func saveServers() async {
        var identity = environment.me
        identity.servers = client.servers.urls
        do {
            try await NIOThreadPool.singleton.runIfActive { [identity, path = folders.identity] in
                try AtomicFile.write(identity, to: path, durable: true)
            }
        } catch {
            logger.warning("\(VMSyncError(error).message)")
        }
    }

    private func startHost(_ record: VMRecord, _ description: VMDescription, isCurrent: Bool) {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let host = VMHost(
            record: record, description, isCurrent: isCurrent, environment: environment, thread: group.next())
        groups.append(group)
        hosts[record.id] = host
        Task { await notePresence() }
        known[record.id] = record
        tasks[record.id] = Task { await host.run() }
    }

    /// The server has no such VM any more. One that runs here stays, for its disk is served here.
    private func forget(_ id: VMID) async {
        if let host = hosts[id], await host.staysWithoutServer() { return }
        let task = tasks.removeValue(forKey: id)
        task?.cancel()
        hosts.removeValue(forKey: id)?.wake.signal()
        unreadable[id] = nil
        known[id] = nil
        // Its folder is free when it has ended.
        await task?.value
    }

    // MARK: VMs that are being made

    /// Before the server knows of it: whatever becomes of this daemon, the VM gets its state or goes.
    func noteUnborn(_ id: VMID) throws {
        unborn.insert(id)
        try AtomicFile.write(Array(unborn), to: folders.unborn, durable: true)
    }

    func noteBorn(_ id: VMID) {
        unborn.remove(id)
        abandoned.remove(id)
        // One too many is looked at again, and is found to have its state.
        do {
            try AtomicFile.write(Array(unborn), to: folders.unborn, durable: true)
        } catch {
            logger.warning("\(error.message)")
        }
    }

    /// The VM won't get its state. It is removed now, or when the server answers again.
    func abandon(_ id: VMID) async {
        abandoned.insert(id)
        await removeAbandoned()
    }

    private func removeAbandoned() async {
        for id in abandoned {
            do {
                try await remove(unborn: id)
            } catch {
                logger.warning("\(VMSyncError(error).message)", metadata: ["vm": "\(id)"])
            }
        }
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
            guard let description = await describe(record) else { continue }
            startHost(record, description, isCurrent: false)
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
        let vms = visible.map { host in
            var status = host.status
            status.activeDevice = activeDevice(of: status)
            for index in status.others.indices {
                status.others[index].name = deviceList.first { $0.id == status.others[index].device }?.name
            }
            return status
        }
        return DaemonStatus(
            device: environment.me.name, id: environment.me.id, server: client.url,
            serverAnswers: serverAnswers, state: folders.state, pid: getpid(), vms: vms.sorted { $0.name < $1.name })
    }

    /// Those that are more than begun by a command that still runs.
    var visible: [VMHost] { hosts.values.filter { !unborn.contains($0.id) } }

    private func activeDevice(of status: VMStatus) -> String? {
        status.holder.map { holder in deviceList.first { $0.id == holder }?.name ?? "\(holder)" }
    }

    /// The host of the VM whose name, id or unique beginning of an id is `reference`.
    package func host(_ reference: String) async throws -> VMHost {
        await waitUntilKnown()
        let matches = visible.filter { $0.name == reference || $0.id.rawValue == reference }
        guard matches.count < 2 else {
            let ids = matches.map(\.id.rawValue).sorted().joined(separator: ", ")
            throw VMSyncError(.invalidInput, "\(matches.count) VMs are called \(reference)", hint: "say which: \(ids)")
        }
        if let host = matches.first { return host }
        let prefixed = reference.count >= 4 ? visible.filter { $0.id.rawValue.hasPrefix(reference) } : []
        guard let host = prefixed.first, prefixed.count == 1 else {
            throw VMSyncError(.notFound, "there is no VM \"\(reference)\"", hint: "vmsync list")
        }
        return host
    }

    /// The devices of the account, as they tell of themselves.
    var deviceList: [DeviceStatus] {
        devices.map { record in
            let profile = DeviceProfile.read(record, account)
            return DeviceStatus(
                id: record.id, name: profile.name, platform: profile.platform, joined: record.joined,
                lastSeen: record.lastSeen, connected: record.connected, isThisOne: record.id == environment.me.id,
                isMirror: profile.isMirror ?? false)
        }
    }

    func listDevices() async throws -> [DeviceStatus] {
        devices = try await client.devices()
        try await account.refresh()
        var list = deviceList
        for place in list.indices { list[place].nearby = await environment.links.nearbyAddresses(of: list[place].id) }
        return list
    }

    func device(_ name: String?) throws(VMSyncError) -> DeviceStatus {
        let wanted = name ?? environment.me.name
        guard
            let device = deviceList.first(where: {
                $0.name == wanted || $0.id.rawValue == wanted || $0.id == DeviceID(typed: wanted)
            })
        else { throw VMSyncError(.notFound, "there is no device \"\(wanted)\"", hint: "vmsync devices") }
        return device
    }

    /// Lets in the device whose id a person has typed.
    func approve(_ text: String) async throws {
        guard let id = DeviceID(typed: text) ?? DeviceID(rawValue: text) else {
            throw VMSyncError(
                .invalidInput, "that is no device's id: a letter is wrong or missing", hint: "it has 8 groups of 7")
        }
        try await account.approve(id)
    }

    /// Cuts off a device that is lost.
    func revoke(_ name: String) async throws {
        await waitUntilKnown()
        let lost = try device(name)
        let all = Array(hosts.values)
        try await account.revoke(lost.id) {
            var heads: [VMID: ChainPoint] = [:]
            for host in all {
                heads[host.id] = try await host.chainHead()
                try await host.reader.vouch(forSpansOf: lost.id)
            }
            return heads
        }
        devices = try await client.devices()
    }

    /// `error` in a person's words: the server knows devices by their ids only.
    func worded(_ error: VMSyncError) -> VMSyncError {
        var worded = error
        for device in deviceList {
            worded.message = worded.message.replacingOccurrences(of: device.id.rawValue, with: device.name)
        }
        return worded
    }

    func isTaken(_ name: String) async -> Bool {
        await waitUntilKnown()
        return hosts.values.contains { $0.name == name }
    }

    /// Takes in a VM that was just created here, so that its name is known when `create` returns.
    func accept(_ record: VMRecord) async { await deliver(record) }
}
