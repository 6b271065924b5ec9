import VMSyncCore

/// What a commit came to.
package enum CommitDecision: Hashable, Sendable {
    /// It is the new head.
    case accepted(CheckpointRecord)
    /// It had been accepted before; nothing changed.
    case repeated(CheckpointRecord)

    /// The same answer in both cases, so that a device may repeat a commit whose answer was lost.
    package var record: CheckpointRecord {
        switch self {
        case .accepted(let record), .repeated(let record): record
        }
    }
}

extension LeaseState {
    /// Makes the offer of `device` the head, and keeps, frees or moves the lease with it.
    /// - Parameter known: the checkpoint that stands at the offer's sequence, if there is one.
    /// - Throws: `fenced`, `outOfOrder`; for a switch `notFound` or `wrongState`.
    package mutating func commit(
        _ offer: CommitOffer, by device: DeviceID, known: CheckpointRecord?, at now: Timestamp
    ) throws(VMSyncError) -> CommitDecision {
        if let known, offer.isRepetition(of: known, from: device) { return .repeated(known) }
        try checkHolder(device, offer.epoch)
        guard offer.parent == headSequence, offer.sequence > offer.parent, offer.basis <= offer.parent else {
            throw VMSyncError(
                .outOfOrder,
                "checkpoint \(offer.sequence), which follows \(offer.parent), does not follow the head (\(standing))")
        }
        // Who saves a checkpoint runs the VM: also if his word for it was lost, the switch to him bars no other. One that
        // moved can't be the one that this commit is to move by.
        let hasArrived = lastSwitch?.isArriving(at: device) ?? false
        try dispose(offer.then, at: now)
        if hasArrived { endSwitch(.done) }
        let record = offer.accepted(from: device, at: now)
        head = record
        release = nil
        return .accepted(record)
    }

    private mutating func dispose(_ then: AfterCommit, at now: Timestamp) throws(VMSyncError) {
        switch then {
        case .keep: break
        case .release: free()
        case .move(let id): try move(by: id, at: now)
        }
    }

    private mutating func move(by id: SwitchID, at now: Timestamp) throws(VMSyncError) {
        var pending = try switchRecord(id)
        guard pending.state == .ready, pending.isOpen(at: now), pending.from == holder else {
            throw VMSyncError(
                .wrongState, "switch \(id) is \(pending.state.rawValue), so it can't move the VM (\(standing))")
        }
        pending.state = .moved
        pending.touched = now
        lastSwitch = pending
        give(to: pending.to)
    }
}
