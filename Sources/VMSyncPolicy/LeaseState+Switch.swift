import Foundation
import VMSyncCore

/// What source or target say of a switch.
package enum SwitchAnswer: Hashable, Sendable {
    /// The target can take the VM, and holds this checkpoint of it. May be said again of later ones.
    case ready(at: Sequence)
    /// The target can't; an encrypted `Reason`.
    case refuse(Data)
    /// Source or target gave up; an encrypted `Reason`.
    case fail(Data)
    /// The VM runs on the target.
    case done
    /// What parts of it took, in milliseconds.
    case report([String: Double])
}

extension LeaseState {
    /// Opens a switch from the holder to `target`.
    /// - Parameter isCold: whether the guest is to be shut down for it.
    /// - Throws: `wrongState` if nobody is active or the target is; `leaseHeld` if another switch is open.
    package mutating func requestSwitch(
        _ id: SwitchID, to target: DeviceID, isCold: Bool = false, at now: Timestamp
    ) throws(VMSyncError) -> SwitchRecord {
        guard let holder else {
            throw VMSyncError(.wrongState, "the VM runs nowhere (\(standing))", hint: "vmsync start")
        }
        guard holder != target else { throw VMSyncError(.wrongState, "the VM already runs on \(target)") }
        if let open = lastSwitch, open.isOpen(at: now) {
            throw VMSyncError(
                .leaseHeld, "switch \(open.id) from \(open.from) to \(open.to) is \(open.state.rawValue)",
                hint: "wait for it; it ends \(SwitchRecord.openMax) after nothing more is heard of it")
        }
        let record = SwitchRecord(id: id, vm: vm, from: holder, to: target, isCold: isCold, created: now)
        lastSwitch = record
        return record
    }

    /// Takes what `device` says of switch `id`. Saying the same again only keeps it open.
    /// - Throws: `notFound` unless it is the last switch; `wrongState` unless the device has this say, or if the switch has
    ///   gone past it; `invalidInput` for too many steps.
    package mutating func answer(
        _ answer: SwitchAnswer, to id: SwitchID, by device: DeviceID, at now: Timestamp
    ) throws(VMSyncError) -> SwitchRecord {
        var record = try switchRecord(id)
        let isSource = device == record.from
        let isTarget = device == record.to
        switch answer {
        case .ready(let held):
            guard held <= headSequence else {
                throw VMSyncError(.invalidInput, "the VM has no checkpoint \(held)")
            }
            try record.step(to: .ready, from: [.requested], allowed: isTarget)
            record.held = max(record.held ?? held, held)
        case .done:
            try record.step(to: .done, from: [.moved], allowed: isTarget)
        case .refuse(let reason):
            try record.step(to: .refused, from: [.requested, .ready], allowed: isTarget, because: reason)
        case .fail(let reason):
            let from: [SwitchState] = isTarget ? [.requested, .ready, .moved] : [.requested, .ready]
            try record.step(to: .failed, from: from, allowed: isSource || isTarget, because: reason)
        case .report(let steps):
            try record.merge(steps, allowed: isSource || isTarget)
        }
        // A source that is well must not keep a switch open whose target says nothing.
        if isTarget || record.state != .requested { record.touched = now }
        lastSwitch = record
        return record
    }

    func switchRecord(_ id: SwitchID) throws(VMSyncError) -> SwitchRecord {
        guard let lastSwitch, lastSwitch.id == id else {
            throw VMSyncError(.notFound, "switch \(id) is not the VM's last switch")
        }
        return lastSwitch
    }

    mutating func endSwitch(_ state: SwitchState) { lastSwitch?.state = state }
}

extension SwitchRecord {
    fileprivate mutating func step(
        to next: SwitchState, from states: [SwitchState], allowed: Bool, because reason: Data? = nil
    ) throws(VMSyncError) {
        guard allowed else { throw Self.notYours(id) }
        if state == next { return }
        guard states.contains(state) else {
            throw VMSyncError(.wrongState, "switch \(id) is \(state.rawValue), so it can't become \(next.rawValue)")
        }
        state = next
        self.reason = reason
    }

    fileprivate mutating func merge(_ more: [String: Double], allowed: Bool) throws(VMSyncError) {
        guard allowed else { throw Self.notYours(id) }
        let merged = steps.merging(more) { _, new in new }
        guard merged.count <= Self.stepCountMax else {
            throw VMSyncError(.invalidInput, "a switch keeps at most \(Self.stepCountMax) steps")
        }
        steps = merged
    }

    private static func notYours(_ id: SwitchID) -> VMSyncError {
        VMSyncError(.wrongState, "this device has no such say in switch \(id)")
    }
}
