import VMSyncCore

/// A VM's chain of statements, as far as this device has followed it, and as far as it ever believed it.
///
/// The two differ while a device that has lost its replica follows the history again from an earlier place: it must come
/// by the very statement that it believed before. (docs/protocol/trust.md, "The chain of checkpoints")
package struct Chain: Sendable, Hashable, Codable {
    package let vm: VMID
    /// The last statement that was followed; nil before the first.
    package private(set) var last: Statement?
    package private(set) var point: ChainPoint?
    /// The newest that was ever followed.
    package private(set) var memory: ChainPoint?
    /// Up to here this device has given the VM back without running it.
    private var released: Epoch?

    package init(vm: VMID) { self.vm = vm }

    /// Begins again before the first statement. What was believed is remembered.
    package mutating func restart() {
        last = nil
        point = nil
    }

    /// Follows the next statement.
    /// - Parameter roster: as new as can be had.
    /// - Returns: what it says.
    /// - Throws: `corrupt`, and nothing has changed, if it can't be the next. Said again, the last one is no error.
    @discardableResult
    package mutating func take(_ signed: Signed<Statement>, _ roster: Roster) throws(VMSyncError) -> Statement {
        let next = try signed.read()
        let place = ChainPoint(sequence: next.sequence, hash: signed.hash)
        if let last, point == place { return last }
        guard next.vm == vm else { throw refused(next, "it is of another VM") }
        try checkSigner(of: signed, next, place, roster)
        guard next.parent == point, next.sequence > point?.sequence ?? .base else {
            throw refused(next, "it does not follow checkpoint \(point?.sequence ?? .base), which this device knows")
        }
        guard mayFollow(next.device, under: next.epoch, isForced: next.isForced, after: next.release, roster) else {
            throw refused(next, "checkpoint \(last?.sequence ?? .base) did not give the VM to who made it")
        }
        try checkMilestones(next, place, roster)
        follow(next, place)
        return next
    }

    /// Follows a link to the statement at its end. What lies between, somebody else has followed who is believed.
    /// - Throws: `corrupt`, and nothing has changed, if the link isn't a member's, or doesn't lead from here to there.
    @discardableResult
    package mutating func take(
        _ signed: Signed<Statement>, by link: Signed<SpanLink>, _ roster: Roster
    ) throws(VMSyncError) -> Statement {
        let (next, said) = (try signed.read(), try link.read())
        let place = ChainPoint(sequence: next.sequence, hash: signed.hash)
        guard next.vm == vm, said.vm == vm, said.first == point, said.last == place,
            said.first?.sequence ?? .base < place.sequence
        else { throw refused(next, "the link does not lead from checkpoint \(point?.sequence ?? .base) to it") }
        guard let member = roster.members[said.device], link.isSigned(by: member) else {
            throw refused(next, "who signed the link to it is none of your devices")
        }
        try checkSigner(of: signed, next, place, roster)
        for milestone in milestones(roster) where milestone.sequence == place.sequence && milestone != place {
            throw refused(next, "it is of another history than the one that is known to your devices")
        }
        follow(next, place)
        return next
    }

    private mutating func follow(_ next: Statement, _ place: ChainPoint) {
        last = next
        point = place
        if memory.map({ $0.sequence < place.sequence }) ?? true { memory = place }
    }

    private func milestones(_ roster: Roster) -> [ChainPoint] {
        ([memory] + roster.revoked.values.map { $0.heads[vm] }).compactMap(\.self)
    }

    /// Whether all that was ever believed is followed.
    package var isAtMemory: Bool { point == memory }

    /// Whether the last statement leaves the VM to `device`.
    package func isNamed(_ device: DeviceID) -> Bool {
        switch last?.then {
        case .keep: last?.device == device
        case .move(let target): target == device
        case .release, nil: false
        }
    }

    /// This device does not run the VM under `epoch`, nor under an earlier one.
    package mutating func noteRelease(of epoch: Epoch) { released = max(released ?? epoch, epoch) }

    package func hasReleased(_ epoch: Epoch) -> Bool { released.map { epoch <= $0 } ?? false }

    /// Whether `take` would take it.
    package func canTake(_ signed: Signed<Statement>, _ roster: Roster) -> Bool {
        var copy = self
        return (try? copy.take(signed, roster)) != nil
    }

    /// - Throws: `corrupt` if the server shows an older head than it has shown before.
    package func check(head: Sequence) throws(VMSyncError) {
        guard let memory, head < memory.sequence else { return }
        throw VMSyncError(
            .corrupt, "the server shows checkpoint \(head) as the newest, but this device knows of \(memory.sequence)",
            hint: "the server was set back, or tampered with; what this device holds is kept")
    }

    private func checkSigner(
        of signed: Signed<Statement>, _ next: Statement, _ place: ChainPoint, _ roster: Roster
    ) throws(VMSyncError) {
        if let member = roster.members[next.device] {
            guard signed.isSigned(by: member) else { throw refused(next, "its signature is wrong") }
            return
        }
        guard let former = roster.revoked[next.device] else {
            throw refused(next, "who signed it is none of your devices")
        }
        guard let end = former.heads[vm], next.sequence < end.sequence || end == place else {
            throw refused(next, "who signed it was revoked before")
        }
        guard signed.isSigned(by: former.identity) else { throw refused(next, "its signature is wrong") }
    }

    /// By what was believed before it must come again, and by what a revocation names: a revoked device could sign another
    /// history that ends below that.
    private func checkMilestones(_ next: Statement, _ place: ChainPoint, _ roster: Roster) throws(VMSyncError) {
        let here = point?.sequence ?? .base
        for milestone in milestones(roster) where here < milestone.sequence {
            guard place.sequence < milestone.sequence || place == milestone else {
                throw refused(next, "it is of another history than the one that is known to your devices")
            }
        }
    }

    /// Whether `device` may run the VM under `epoch`, and say what comes next.
    /// - Parameters:
    ///   - isForced: whether a person has said that it takes over.
    ///   - release: the word of the device that the last statement left the VM to.
    package func mayFollow(
        _ device: DeviceID, under epoch: Epoch, isForced: Bool = false, after release: Signed<Release>?,
        _ roster: Roster
    ) -> Bool {
        guard let last else { return true }
        if epoch > last.epoch, isForced { return true }
        switch last.then {
        case .keep:
            if last.device == device, last.epoch == epoch { return true }
            return epoch > last.epoch
                && (roster.revoked[last.device] != nil || isReleased(by: last.device, release, roster))
        case .release: return epoch > last.epoch
        case .move(let target):
            if target == device, epoch == last.epoch.next { return true }
            return epoch > last.epoch && (roster.revoked[target] != nil || isReleased(by: target, release, roster))
        }
    }

    private func isReleased(by target: DeviceID, _ release: Signed<Release>?, _ roster: Roster) -> Bool {
        guard let release, let said = try? release.read(), let member = roster.members[target] else { return false }
        return said.vm == vm && said.device == target && said.after == point && release.isSigned(by: member)
    }

    private func refused(_ next: Statement, _ why: String) -> VMSyncError {
        VMSyncError(
            .corrupt, "checkpoint \(next.sequence) can't be believed: \(why)",
            hint: "the server may have been tampered with; what this device holds is kept")
    }
}
