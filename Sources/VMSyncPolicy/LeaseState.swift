import Foundation
import VMSyncCore

/// All that decides who may run a VM and which checkpoint comes next.
///
/// Pure: each method either changes the state as the rules of docs/protocol/sync-api.md say, or throws and changes nothing.
/// Who calls it loads the state, lets it decide, and saves it, in one transaction. Invariants, whatever is called:
/// 1. at most one device holds the lease;
/// 2. the epoch never falls, and rises each time the lease is given to somebody;
/// 3. the head's sequence never falls, and each head but the first names the one before as its parent.
package struct LeaseState: Hashable, Sendable {
    package let vm: VMID
    package internal(set) var epoch: Epoch
    /// The active device, if any.
    package internal(set) var holder: DeviceID?
    package internal(set) var head: CheckpointRecord?
    /// The last switch, whatever became of it.
    package internal(set) var lastSwitch: SwitchRecord?
    /// What the device has signed that was given the VM after the head and gave it back; only devices read it.
    package internal(set) var release: Data?

    /// The state of a new VM, or one that was stored.
    package init(
        vm: VMID, epoch: Epoch = Epoch(rawValue: 0), holder: DeviceID? = nil, head: CheckpointRecord? = nil,
        lastSwitch: SwitchRecord? = nil, release: Data? = nil
    ) {
        self.vm = vm
        self.epoch = epoch
        self.holder = holder
        self.head = head
        self.lastSwitch = lastSwitch
        self.release = release
    }

    /// The sequence of the head; that of the base image if there is none.
    package var headSequence: Sequence { head?.sequence ?? .base }

    /// Lets time pass: a switch that has not moved in time becomes `expired`.
    package mutating func settle(at now: Timestamp) {
        guard let pending = lastSwitch, pending.state == .requested || pending.state == .ready,
            !pending.isOpen(at: now)
        else { return }
        endSwitch(.expired)
    }

    /// Gives a free lease to `device`, under the next epoch; its holder gets the present epoch again.
    /// - Parameters:
    ///   - force: takes it from whoever holds it. What the holder has not committed is lost to the others.
    ///   - seen: the epoch on which it was decided to force it; nil for whichever it is.
    /// - Throws: `leaseHeld` if another device holds it; `fenced` if the epoch is another than the one seen.
    package mutating func acquire(
        by device: DeviceID, force: Bool = false, seen: Epoch? = nil
    ) throws(VMSyncError) -> Epoch {
        if let holder, holder != device {
            guard seen ?? epoch == epoch else {
                throw VMSyncError(
                    .fenced, "the VM has moved on since (\(standing))", hint: "vmsync status; then decide again")
            }
            guard force else {
                throw VMSyncError(
                    .leaseHeld, "\(holder) is active (\(standing))", hint: "vmsync switch")
            }
            free()
            give(to: device, under: epoch.afterForce)
        }
        if holder == nil { give(to: device) }
        return epoch
    }

    /// Learns that the holder has handed the VM over directly: to `device`, perhaps over others. (docs/protocol/direct.md)
    /// - Parameters:
    ///   - from: the holder that the server knows, under `seen`.
    ///   - epoch: under which the device has it.
    ///   - word: what the holder has signed of it; nil if none is needed.
    /// - Throws: `fenced` if the server has given the lease to another since.
    package mutating func handedOver(
        from: DeviceID, _ seen: Epoch, to device: DeviceID, under epoch: Epoch, word: Data?
    ) throws(VMSyncError) {
        if holder == device, self.epoch == epoch { return }
        try checkHolder(from, seen)
        // The holder itself may take back what it has given to a device that is lost: past any handover.
        let isTakenBack = from == device && epoch == seen.afterForce
        guard seen < epoch, epoch < seen.afterForce || isTakenBack else {
            throw VMSyncError(.invalidInput, "epoch \(epoch) can't follow \(seen) by handing over")
        }
        free()
        give(to: device, under: epoch)
        release = word
    }

    /// Frees the lease without a checkpoint. A switch that was open fails.
    /// - Parameter word: what the device has signed of it, if the lease was moved to it.
    /// - Throws: `fenced` unless `device` holds the lease under `epoch`. Freeing again under the same epoch is allowed.
    package mutating func release(by device: DeviceID, epoch: Epoch, word: Data? = nil) throws(VMSyncError) {
        if holder == nil, epoch == self.epoch { return }
        try checkHolder(device, epoch)
        free()
        // Of several that gave it back the first was named by the head; the others had it for free.
        if release == nil { release = word }
    }

    /// Frees the lease if `device` holds it, which has lost its rights, and ends a switch to it.
    package mutating func revoke(_ device: DeviceID) {
        if holder == device {
            free()
            // It may have handed the VM over, and not said so.
            epoch = epoch.afterForce
        }
        guard let pending = lastSwitch, pending.to == device, pending.state == .requested || pending.state == .ready
        else { return }
        endSwitch(.failed)
    }

    /// - Throws: `wrongState` while somebody is active, so that no running VM loses its server.
    package func checkDeletable() throws(VMSyncError) {
        guard let holder else { return }
        throw VMSyncError(.wrongState, "the VM runs on \(holder)", hint: "vmsync stop, then delete it again")
    }

    func checkHolder(_ device: DeviceID, _ epoch: Epoch) throws(VMSyncError) {
        guard holder == device, self.epoch == epoch else {
            throw VMSyncError(
                .fenced, "\(device) does not hold the lease under epoch \(epoch) (\(standing))",
                hint: "the VM has moved on; work made here since is kept as a fork")
        }
    }

    mutating func give(to device: DeviceID) { give(to: device, under: epoch.next) }

    private mutating func give(to device: DeviceID, under epoch: Epoch) {
        holder = device
        self.epoch = epoch
    }

    /// Frees the lease; nobody is left who could carry out an open switch, or say of one that moved that it is done.
    mutating func free() {
        let former = holder
        holder = nil
        guard let pending = lastSwitch else { return }
        let isOpen = pending.state == .requested || pending.state == .ready
        guard isOpen || pending.state == .moved && pending.to == former else { return }
        endSwitch(.failed)
    }

    /// Head, epoch and holder in words, for the detail of a refusal.
    var standing: String {
        "head \(headSequence), epoch \(epoch), \(holder.map { "active on \($0)" } ?? "active nowhere")"
    }
}
