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

    func saveTenure(_ tenure: Tenure?) throws(VMSyncError) {
        if let tenure { try AtomicFile.write(tenure, to: tenurePath) } else { AtomicFile.remove(tenurePath) }
        self.tenure = tenure
    }

    /// Opens what is here. Without the base images there is nothing yet. What fails is done when it is called again.
    func open() async throws {
        guard description.images.allSatisfy(environment.images.has) else { return }
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
            vm: id, definition: description.machine, paths: paths, bases: bases, bootID: environment.bootID,
            logger: logger)
        let exports = Dictionary(
            uniqueKeysWithValues: replica.overlays.enumerated().map {
                (MachinePaths.exportName($0.offset), $0.element as any BlockDevice)
            })
        disks = try await NBDServer.start(
            path: paths.disks, exports: exports, group: MultiThreadedEventLoopGroup.singleton,
            threadPool: .singleton, logger: logger)
        tenure = AtomicFile.readIfWhole(Tenure.self, at: tenurePath) { logger.warning("\($0.message)") }
        openChain()
        self.replica = replica
        return replica
    }

    /// Takes over a QEMU, by what the tenure says of it.
    private func adoptMachine(_ replica: Replica) async throws {
        let found = try await Machine.adopt(
            paths: paths, group: MultiThreadedEventLoopGroup.singleton, logger: logger)
        guard let tenure else {
            // It only waited for device state, and a fresh one is ready sooner than this one is understood.
            await found?.end()
            return
        }
        guard let found else {
            isDiverged = tenure.isDiverged ?? false
            return try noteMissing(replica, tenure.departure)
        }
        let runState = try await found.runState()
        if runState == .inMigrate {
            // The daemon died before the device state was in: the guest has not run here, and begins again from the head.
            await found.end()
            return try saveTenure(nil)
        }
        machine = found
        watch(found)
        if tenure.isDiverged ?? false {
            if runState == .running { try await found.pause() }
            isDiverged = true
            machineState = .held
            return
        }
        startTracking(found)
        switch runState {
        case .shutdown,
            // Shut down while it was stopped for a checkpoint.
            .postMigrate where tenure.departure?.kind == .off:
            guestShutDown = true
            machineState = .shutDown
        case .running:
            machineState = tenure.departure == nil ? .running : .held
        default:
            // Paused in the middle of a checkpoint, or by an error of a disk that is served again now.
            if tenure.departure == nil { try await found.resume() }
            machineState = tenure.departure == nil ? .running : .held
        }
        if machineState == .running { wakeGuest(pullsCable: false) }
        logger.notice("adopted the running QEMU", metadata: ["pid": "\(found.process.pid)"])
    }

    /// The QEMU of a tenure is gone. Nothing is lost with it if the last checkpoint was sealed, or if the guest had shut
    /// down before.
    private func noteMissing(_ replica: Replica, _ departure: Tenure.Departure?) throws {
        if let departure, replica.record.sequence >= departure.sequence { return }
        guard departure?.kind != .off else { return machineState = .shutDown }
        machineState = .died
        try markLost(replica)
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
        if machineState == .running { machineState = .shutDown }
        wake.signal()
    }

    private func machineDidEnd(_ which: Machine) {
        guard which === machine else { return }
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
            description.machine, savedBy: role == .incoming ? replica.record.qemu : nil)
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
    }
}
