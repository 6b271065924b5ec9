import VMSyncCore
import VMSyncPolicy

/// What must be so after every step. See `Violation.Invariant` for each in words.
extension World {
    /// - Parameter changed: the devices that may be otherwise than before.
    mutating func check(_ changed: Range<Int>) throws(Violation) {
        try checkOneRunning()
        try checkNothingLost()
        try checkHeadIsContained()
        for device in changed {
            try checkStandby(device)
            try checkSpace(device)
        }
        try checkLateWork()
    }

    /// Two may run at once only if the lease was forced away from all of them but one: an active device that is offline
    /// runs on.
    private func checkOneRunning() throws(Violation) {
        for first in devices.indices where devices[first].qemu == .running {
            for second in 0..<first where devices[second].qemu == .running {
                let (one, other) = (devices[first].runningEpoch, devices[second].runningEpoch)
                guard one == other || !ledger.wasForcedAway(min(one, other)) else { continue }
                throw Violation(
                    invariant: .oneRunning,
                    detail: "devices \(second) and \(first) run the guest, under epochs \(other) and \(one)")
            }
        }
    }

    private func checkNothingLost() throws(Violation) {
        let newest = ledger.newestAcknowledged
        guard newest > 0 else { return }
        let sequence = Sequence(rawValue: UInt64(newest))
        guard server.committed(at: sequence)?.checkpoint == ledger.acknowledged[newest] else {
            throw Violation(
                invariant: .nothingLost, detail: "checkpoint \(newest) was saved, and is not in the history")
        }
    }

    /// All of it, where `check` looks only at the newest.
    func checkAllAcknowledged() throws(Violation) {
        for (index, number) in ledger.acknowledged.enumerated() {
            guard let number else { continue }
            guard server.committed(at: Sequence(rawValue: UInt64(index)))?.checkpoint == number else {
                throw Violation(
                    invariant: .nothingLost, detail: "checkpoint \(index) was saved, and is not in the history")
            }
        }
    }

    /// What stands at `sequence` of the history was done in the guest by then.
    private func work(at sequence: Sequence) -> Int32 {
        server.committed(at: sequence).map { sealed[Int($0.checkpoint)].work } ?? WorkTree.base
    }

    private mutating func checkHeadIsContained() throws(Violation) {
        guard let holder = server.holderIndex(), devices[holder].qemu == .running,
            devices[holder].runningEpoch == server.lease.epoch
        else { return }
        let (head, running) = (work(at: server.head), devices[holder].work)
        let known = ledger.containedHead == head ? ledger.containing : head
        guard works.contains(running, head, knowing: known) else {
            throw Violation(
                invariant: .headIsContained,
                detail: "device \(holder) runs the guest without what is in checkpoint \(server.head)")
        }
        (ledger.containedHead, ledger.containing) = (head, running)
    }

    /// Called when `checkpoint` becomes the head after `head`.
    func checkOneLine(_ checkpoint: SealedCheckpoint, after head: Sequence) throws(Violation) {
        guard works.contains(checkpoint.work, work(at: head)) else {
            throw Violation(
                invariant: .historyIsOneLine,
                detail: "checkpoint \(checkpoint.sequence) of device \(checkpoint.device) is without what is in \(head)"
            )
        }
    }

    /// A standby: no guest here, nothing waits, nothing is half done.
    private func checkStandby(_ index: Int) throws(Violation) {
        guard isStandby(index) else { return }
        let sequence = devices[index].disk.record.sequence
        guard devices[index].ram == works.state(work(at: sequence)) else {
            throw Violation(
                invariant: .standbyIsCommitted,
                detail: "device \(index) is a standby at \(sequence), and holds something else")
        }
    }

    private func isStandby(_ index: Int) -> Bool {
        if devices[index].qemu.hasGuest || !devices[index].disk.outbox.isEmpty { return false }
        if devices[index].disk.record.isDamaged || devices[index].disk.record.applying != nil { return false }
        return devices[index].disk.tenure == nil
    }

    // MARK: Late work

    private mutating func checkLateWork() throws(Violation) {
        guard !ledger.owed.isEmpty else { return }
        let head = work(at: server.head)
        for owed in ledger.owed where !works.contains(head, owed.work) && !isKept(owed) && !isOnItsWay(owed) {
            throw Violation(
                invariant: .lateWorkIsKept,
                detail: "what a guest did on device \(owed.device) is nowhere: write \(owed.work)")
        }
        ledger.owed = ledger.owed.filter { !works.contains(head, $0.work) && !isKept($0) }
    }

    private func isKept(_ owed: Ledger.Owed) -> Bool {
        devices[owed.device].disk.forks.contains { works.contains($0.work, owed.work) }
    }

    /// It is sealed and waits, or stands in a guest.
    private func isOnItsWay(_ owed: Ledger.Owed) -> Bool {
        devices[owed.device].disk.outbox.contains { works.contains($0.work, owed.work) }
            || devices[owed.device].qemu.hasGuest && works.contains(devices[owed.device].work, owed.work)
    }

    // MARK: Space

    /// The oldest, the one into which the others go, the one just made, and the last one of a tenure; and what another device
    /// has sent directly.
    private static let outboxMax = 4 + OutboxOrder.sharedMax
    /// What lay in the outbox each time, if the person never drops any.
    private static let forksMax = 4 + OutboxOrder.sharedMax
    private static let namelessMax = 32

    private func checkSpace(_ index: Int) throws(Violation) {
        let (waiting, forks) = (devices[index].disk.outbox.count, devices[index].disk.forks.count)
        guard waiting <= Self.outboxMax else {
            throw Violation(invariant: .spaceIsBounded, detail: "device \(index) has \(waiting) in its outbox")
        }
        guard forks <= Self.forksMax * (ledger.kept[index] + 1) else {
            throw Violation(invariant: .spaceIsBounded, detail: "device \(index) keeps \(forks) forks")
        }
        guard server.namelessPacks <= Self.namelessMax else {
            throw Violation(invariant: .spaceIsBounded, detail: "\(server.namelessPacks) packs have no name")
        }
    }
}

extension SimulatedDevice {
    /// Under which the guest runs here.
    var runningEpoch: Epoch { disk.tenure?.epoch ?? Epoch(rawValue: 0) }
}
