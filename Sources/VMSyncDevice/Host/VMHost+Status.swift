import Foundation
import Logging
import Synchronization
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica

/// What `vmsync status` shows, put together after every step.
extension VMHost {
    func publish() {
        var status = VMStatus(id: id, name: name)
        status.state = stateWord
        status.epoch = record.epoch
        status.holder = record.holder
        status.sequence = replica?.record.sequence ?? .base
        status.head = record.head?.sequence ?? .base
        status.digest = replica.map { "\($0.record.digest.combined)" }
        status.savedSecondsAgo = saved.map { (ContinuousClock.now - $0.at).seconds }
        status.notUploadedBytes = waitingCheckpoints.reduce(0) { $0 + $1.packBytes }
        status.serverAnswers = serverAnswers
        status.problem = (divergence ?? setBack ?? forgery ?? problem ?? damage).map(Reason.init)
        status.machine = machineStatus
        status.sync = standing
        status.forks = forks
        status.others = standings.filter { $0.standing.device != me }.map { standing, note in
            OtherStanding(
                device: standing.device, held: standing.held, told: standing.told, words: note?.words,
                forks: note?.forks ?? 0)
        }
        status.lastCheckpoint = metrics.last
        status.lastSwitch = record.lastSwitch
        status.switchReason = record.lastSwitch.flatMap(reason(of:))
        published.withLock { $0 = status }
    }

    /// What saved the state that the VM goes on from; nil if it boots, or nothing of it is here.
    var saver: Saver? { record.head?.kind == .live ? replica?.record.saver : nil }

    /// Why a switch came to nothing, as a device has told it.
    private func reason(of pending: SwitchRecord) -> Reason? {
        guard let encrypted = pending.reason,
            let json = try? account.decrypt(encrypted, .reason(pending.id.rawValue), of: .vm(id))
        else { return nil }
        return try? JSONDecoder().decode(Reason.self, from: Data(json))
    }

    /// Why the VM stands still here though it ran: it must not go on by itself.
    var divergence: VMSyncError? {
        guard isDiverged else { return nil }
        return VMSyncError(
            .fenced, "the VM went on on another device; what was done here since is kept, paused",
            hint: "vmsync status \(name)")
    }

    private var damage: VMSyncError? {
        replica?.record.damage.map {
            VMSyncError(.corrupt, "this replica is damaged: \($0)", hint: "vmsync start \(name)")
        }
    }

    private var stateWord: VMStatus.State {
        if isDiverged { return .diverged }
        switch machineState {
        case .running: return .active
        case .held: return .switching
        case .died: return .crashed
        case .shutDown: return .stopped
        case .none, .waiting: break
        }
        if !serverAnswers { return .disconnected }
        if replica == nil || (record.head?.sequence ?? .base) > (replica?.record.sequence ?? .base) {
            return failures > 2 ? .error : .syncing
        }
        switch record.runState {
        case .active: return record.holder == environment.me.id ? .switching : .upToDate
        case .suspended: return .suspended
        case .off: return .stopped
        }
    }

    private var machineStatus: MachineStatus? {
        guard let machine else { return nil }
        return MachineStatus(
            state: "\(machineState)", accelerator: Accelerator.choose(for: description.machine.architecture).rawValue,
            tracking: (tracker == nil ? TrackingMethod.compare : .pagemap).rawValue, trackingProblem: trackingProblem,
            vncSocket: paths.vnc, consoleLog: paths.consoleLog, pid: machine.process.pid, clock: clock)
    }
}
