import VMSyncCore
import VMSyncPolicy

/// Taking over without a person, where one has asked for that beforehand.
extension VMHost {
    /// - Parameter present: the devices that the server hears from; nil if the server isn't heard.
    func notePresence(_ present: Set<DeviceID>?) {
        self.present = present
        wake.signal()
    }

    /// Takes the VM over when its active device has been silent for as long as the policy says; part of the one task.
    /// - Returns: when it has to be looked at again.
    func watchForFailover(_ policy: SyncPolicy) -> ContinuousClock.Instant? {
        let silent = present.map { present in record.holder.map { !present.contains($0) } ?? false } ?? false
        let couldTakeOver =
            record.holder != me && machineState == .waiting && replica?.record.damage == nil
            && (replica?.record.sequence == record.head?.sequence || newestShared != nil) && record.head?.kind == .live
            && requests.isEmpty
        let others = standings.filter {
            $0.standing.device.rawValue < me.rawValue && $0.standing.device != record.holder
        }
        let view = FailoverWatch.View(
            limit: policy.failover, holderIsSilent: silent && recordIsCurrent, couldTakeOver: couldTakeOver,
            before: others.filter { present?.contains($0.standing.device) ?? false }.count)
        guard let left = failover.note(view, at: (ContinuousClock.now - SyncBook.start).seconds) else { return nil }
        guard left == 0 else { return .now + .seconds(left) }
        failover = FailoverWatch()
        // It doesn't come back to this actor, whose thread may have ended by then.
        Task.detached { [self, seen = record.epoch, holder = record.holder] in await takeOver(from: holder, seen) }
        return nil
    }

    /// - Parameter seen: the epoch in which the holder is silent.
    private nonisolated func takeOver(from holder: DeviceID?, _ seen: Epoch) async {
        // It may be cut off from the server alone.
        if let holder, await environment.links.peer(holder, for: id) != nil {
            return logger.warning("not taking the VM over: its active device still answers here")
        }
        logger.error("taking the VM over: its active device is silent", metadata: ["epoch": "\(seen)"])
        do {
            try await ask(.start(force: true, seen: seen))
        } catch {
            logger.error("the VM was not taken over: \(VMSyncError(error).message)")
        }
    }
}
