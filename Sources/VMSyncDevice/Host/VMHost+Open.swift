import Foundation
import Logging
import NBD
import NIOCore
import NIOPosix
import QMP
import Synchronization
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica

/// Coming up: the replica, the disks, and a QEMU that an earlier daemon left running.
extension VMHost {
    var tenurePath: String { paths.state + "/tenure.json" }

    /// - Parameter durable: whether it must survive a power loss at once.
    func saveTenure(_ tenure: Tenure?, durable: Bool = false) throws(VMSyncError) {
        if let tenure {
            try AtomicFile.write(tenure, to: tenurePath, durable: durable)
        } else {
            AtomicFile.remove(tenurePath)
        }
        self.tenure = tenure
    }

    /// Before anything is sent under the tenure, its note survives a power loss: a device that has lost memory and outbox
    /// must know that something may still be on its way.
    func syncTenure() throws(VMSyncError) {
        guard let tenure, !(tenure.hasSent ?? false) else { return }
        try saveTenure(tenure.sending, durable: true)
    }

    /// Opens what is here. Without the base images there is nothing yet. What fails is done when it is called again.
    func open() async throws {
        guard try hasBaseEnough else { return }
        let replica = try await openReplica()
        guard !isAdopted else { return }
        try await adoptMachine(replica)
        isAdopted = true
        try HistoryFolder(paths.history).tidy()
        Machine.removeScreens(of: paths)
        noteForks()
        try finishInterruptedApply(replica)
    }

    /// The replica, with its disks served; the one that is open if there is one.
    private func openReplica() async throws -> Replica {
        if let replica { return replica }
        let bases = description.disks.map(environment.images.path)
        let replica = try Replica(
            vm: id, definition: description.machine, paths: paths, bases: bases, arriving: try bringBases(),
            bootID: environment.bootID, logger: logger)
        exported = replica.overlays
        let exports = Dictionary(
            uniqueKeysWithValues: exported.enumerated().map {
                (MachinePaths.exportName($0.offset), $0.element as any BlockDevice)
            })
        disks = try await NBDServer.start(
            path: paths.disks, exports: exports, group: MultiThreadedEventLoopGroup.singleton,
            threadPool: patientReads ?? .singleton, logger: logger)
        tenure = AtomicFile.readIfWhole(Tenure.self, at: tenurePath) { logger.warning("\($0.message)") }
        openChain()
        try openHandovers()
        // Of one that isn't answered it isn't known yet whose it is.
        if let grant = handovers.last, grant.to == me || tenure == nil { try shareOutbox(of: grant, replica) }
        self.replica = replica
        // Those that have become whole meanwhile.
        for (disk, path) in bases.enumerated() where access(path, R_OK) == 0 { replica.index(path, of: disk) }
        return replica
    }

    /// Takes over a QEMU, by what the tenure says of it.
    private func adoptMachine(_ replica: Replica) async throws {
        let found = try await Machine.adopt(
            paths: paths, group: MultiThreadedEventLoopGroup.singleton, logger: logger)
        // One that only waited isn't asked what it does.
        let runState = tenure == nil ? nil : try await found?.runState()
        let state = found == nil ? nil : runState.map(FoundMachine.init) ?? .waiting
        let adoption = Adoption(tenure: tenure, found: state, replica: replica.record.sequence)
        if let found, adoption.keepsMachine {
            machine = found
            watch(found)
            if adoption != .standStill { startTracking(found) }
        }
        switch adoption {
        case .nothing: break
        case .end: await found?.end()
        case .endAndForget:
            await found?.end()
            try saveTenure(nil)
        case .standStill:
            if runState == .running { try await found?.pause() }
            isDiverged = true
            guestShutDown = runState == .shutdown
            machineState = guestShutDown ? .shutDown : .held
        case .letRun:
            // Paused in the middle of a checkpoint, or by an error of a disk that is served again now.
            if runState != .running { try await found?.resume() }
            machineState = .running
            wakeGuest(pullsCable: false)
        case .hold: machineState = .held
        case .shutDown:
            guestShutDown = found != nil
            machineState = .shutDown
        case .lost:
            isDiverged = tenure?.isDiverged ?? false
            try noteLost(replica)
        }
        if let found, adoption.keepsMachine {
            logger.notice("adopted the running QEMU", metadata: ["pid": "\(found.process.pid)"])
        }
    }

    /// The QEMU of a tenure is gone, and work with it.
    private func noteLost(_ replica: Replica) throws {
        machineState = .died
        try markLost(replica)
        // With the outbox this device has lost what it has sent under this epoch, which may still be on its way: nothing
        // else may be sent under it.
        if waitingCheckpoints.isEmpty, let tenure, tenure.hasSent ?? false { try noteRelease(of: tenure.epoch) }
    }

    /// The VM ran here and its QEMU is gone: RAM and disks are of no checkpoint any more. Unless its last one was sealed,
    /// for then the guest has stood still since.
    func markLost(_ replica: Replica) throws {
        if let last = tenure?.departure?.sequence, last == replica.record.sequence { return }
        try replica.markDamaged("its QEMU ended while it ran")
    }

    private func finishInterruptedApply(_ replica: Replica) throws {
        guard let sequence = replica.interruptedApply else { return }
        logger.info("applying checkpoint \(sequence) again")
        try replica.applyInbox(sequence)
    }

    // MARK: The QEMU's life

    /// Notes what QEMU tells unasked, and its end.
    func watch(_ machine: Machine) {
        let events = machine.qmp.events()
        Task {
            for await event in events {
                switch event.kind {
                case .shutdown(let guest, _) where guest: self.guestDidShutDown(machine)
                case .suspend: self.note(.guestSuspended)
                case .powerdown: self.note(.guestShuttingDown)
                case .blockIOError(let device, let noSpace, _): self.diskFailed(device, noSpace: noSpace)
                default: break
                }
            }
            self.machineDidEnd(machine)
        }
    }

    func guestDidShutDown(_ which: Machine) {
        guard which === machine else { return }
        guestShutDown = true
        // Held, but running: it was adopted in the middle of a departure.
        if machineState == .running || machineState == .held { machineState = .shutDown }
        wake.signal()
    }

    /// What a QEMU that is gone has asked for is answered to nobody, and mustn't reach a disk that goes on without it.
    private func abandonReads() {
        for disk in exported { disk.abandonReads(forGood: false) }
    }

    private func machineDidEnd(_ which: Machine) {
        guard which === machine else { return }
        abandonReads()
        machine = nil
        agent = nil
        clock = nil
        tracker = nil
        if machineState == .running || machineState == .held {
            machineState = guestShutDown ? .shutDown : .died
            logger.error("QEMU ended", metadata: ["last words": "\(QEMUProcess.lastWords(paths))"])
            if machineState == .died, let replica { try? markLost(replica) }
        } else if machineState == .waiting {
            machineState = .none
        }
        publish()
        wake.signal()
    }

    private func diskFailed(_ device: String, noSpace: Bool) {
        problem = VMSyncError(
            noSpace ? .noSpace : .io, "the VM is paused: its disk \(device) can't be written",
            hint: noSpace
                ? "free some space in \(paths.state), then: vmsync start \(name)" : "see \(paths.qemuLog)")
        publish()
    }

    /// Follows the writes of a QEMU whose memory is at the replica's checkpoint now; without the kernel's help all memory
    /// is compared instead.
    func startTracking(_ machine: Machine) {
        trackerIsCurrent = false
        do {
            let report = try RamwatchReport(file: paths.ramwatchReport, memory: description.machine.memory)
            tracker = try DirtyTracker(pid: machine.process.pid, report: report)
            trackingProblem = nil
        } catch {
            tracker = nil
            trackingProblem = error.message
            logger.notice("comparing all memory at each checkpoint: \(error.message)")
        }
    }

    func launch(_ role: QEMUArguments.Role) async throws -> Machine {
        guard let replica else { throw VMSyncError(.wrongState, "the base image is not here yet") }
        if let obstacle = environment.capabilities.reasonAgainst(
            description.machine, savedBy: role == .incoming ? replica.record.saver : nil)
        {
            throw obstacle
        }
        let boot = description.kernel.map { kernel in
            QEMUArguments.BootFiles(
                kernel: environment.images.path(kernel), initrd: description.initrd.map(environment.images.path))
        }
        let settings = Machine.LaunchSettings(
            name: name, paths: paths, accelerator: .choose(for: description.machine.architecture), boot: boot,
            ramwatch: environment.ramwatch)
        // QEMU reads the first sector before it answers anything.
        try await bringBase(until: { exported.allSatisfy { $0.wantBase(0, unlessReplaced: true) } })
        let launched = try await Machine.launch(
            description.machine, role: role, settings: settings, group: MultiThreadedEventLoopGroup.singleton,
            logger: logger)
        guestShutDown = false
        machine = launched
        watch(launched)
        startTracking(launched)
        return launched
    }

    /// Ends the QEMU of this VM, if there is one.
    func discardMachine() async {
        let ending = machine
        machine = nil
        agent = nil
        clock = nil
        tracker = nil
        trackerIsCurrent = false
        machineState = .none
        await ending?.end()
        if ending != nil { abandonReads() }
    }
}

extension FoundMachine {
    init(_ state: QMPRunState) {
        switch state {
        case .inMigrate: self = .waiting
        case .running: self = .running
        case .postMigrate: self = .saved
        case .shutdown: self = .shutDown
        default: self = .paused
        }
    }
}
