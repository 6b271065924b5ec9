import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// What a device does about a switch besides its steps.
extension VMHost {
    /// Begins to approach a switch away from here once it is ordered, and ends that when it came to nothing.
    func noteSwitch() {
        guard machineState == .running else { return }
        let next = SwitchApproach.following(approach, record.lastSwitch, from: environment.me.id)
        if let next, next.id != approach?.id {
            approachSince = .now
            let unsent = gather().unsent
            logger.debug(
                "a switch from here begins",
                metadata: [
                    "waiting": "\(Int(unsent.waiting))", "written": "\(Int(unsent.written?.mean ?? 0))",
                    "growth": "\(Int(unsent.growth.mean))",
                ])
            sync.makeDue()
            // It can wait; the switch wants the link.
            spanMaking?.cancel()
            merging?.cancel()
            thumbnailSending?.cancel()
        }
        approach = next
        if next != nil { noteOutlook() }
    }

    // MARK: Standing still

    /// Part of sending: over a slow link a busy guest writes faster than that is done, and its last checkpoint would take longer
    /// than all before. It stands still from here on instead.
    func holdIfOutrun() async {
        noteSwitch()
        // Nobody waits for it any more, or it may come to nothing: what is on its way may take minutes yet.
        guard approach != nil, serverAnswers else { return await letGoOn() }
        guard heldSince == nil, machineState == .running, uploading != nil, let machine else { return }
        let signals = gather()
        let (seconds, after) = signals.forecast.sending(signals.unsent)
        approach?.noteSending(seconds, after: after)
        guard approach?.holdsGuest ?? false else { return }
        heldSince = Date().timeIntervalSince1970 * 1000
        // Also in a cancelled task, and to its end: nothing else may be asked of QEMU meanwhile.
        switch await Task(operation: { try await machine.pause() }).result {
        case .success:
            logger.notice("the guest stands still: it writes faster than the link carries, and is switched away")
        case .failure(let error):
            heldSince = nil
            logger.warning("the guest can't be held: \(VMSyncError(error).message)")
        }
    }

    /// The guest runs again if it was held, unless `action` brings the switch to its end, or nearer.
    func letGoOn(unless action: DeviceAction) async {
        switch action {
        case .upload where approach != nil && serverAnswers: return
        case .handOver: return
        default: await letGoOn()
        }
    }

    /// The guest runs again if it was held, and the VM is still ours. Also in a cancelled task.
    func letGoOn() async {
        guard heldSince != nil else { return }
        heldSince = nil
        guard machineState == .running, record.holder == me, record.epoch == tenure?.epoch, let machine else { return }
        switch await Task(operation: { try await machine.resume() }).result {
        case .success:
            logger.notice("the guest goes on: the switch that it stood still for goes no further now")
            wakeGuest(pullsCable: false)
        case .failure(let error): logger.error("\(VMSyncError(error).message)")
        }
    }

    /// While a switch from here or to here is open: says every few seconds that this device still works, or the server
    /// would take a switch over a slow link for a dead one.
    func keepSwitchOpen() {
        let pending = record.lastSwitch.flatMap { $0.isLeaving(me) || $0.isComing(to: me) ? $0.id : nil }
        guard pending != switchKeeper?.id else { return }
        switchKeeper?.task.cancel()
        switchKeeper = pending.map { id in (id, Task { await keepOpen(id) }) }
    }

    // MARK: Cold

    var shutdown: DeviceSituation.Shutdown {
        guard let coldSwitch, coldSwitch.id == record.lastSwitch?.id else { return .notAsked }
        return .now - coldSwitch.asked < DeviceSituation.Shutdown.max ? .asked : .overdue
    }

    /// The switch that the guest is shut down for, if it is still open.
    var openColdSwitch: SwitchID? {
        record.lastSwitch.flatMap { $0.awaitsShutdown(on: me) ? $0.id : nil }
    }

    func shutDownGuest(_ pending: SwitchID) async throws {
        try await machine?.pressPowerButton()
        coldSwitch = (pending, .now)
    }

    private func keepOpen(_ pending: SwitchID) async {
        while (try? await Task.sleep(for: SwitchRecord.touchInterval)) != nil {
            // Whether a guest has taken too long to shut down is to be seen by the one task.
            wake.signal()
            // A device that only waits, or fails again and again, keeps nothing open.
            guard isInStep || shutdown == .asked else { continue }
            _ = try? await environment.client.answer(.report([:]), to: pending, of: id)
        }
    }
}
