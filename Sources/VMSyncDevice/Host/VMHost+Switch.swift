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
            sync.makeDue()
            // It can wait; the switch wants the link.
            spanMaking?.cancel()
            merging?.cancel()
            thumbnailSending?.cancel()
        }
        approach = next
        if next != nil { noteOutlook() }
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
