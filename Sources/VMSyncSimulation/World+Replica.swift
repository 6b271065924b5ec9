import VMSyncCore
import VMSyncPolicy

/// One VM's state on one device, in the product's order of writes. (VMSyncReplica)
extension World {
    // MARK: Sealing

    /// Makes a checkpoint of what differs from the replica and moves the replica on to it. (`Replica.seal`)
    /// - Throws: `captureFailed` before anything was written, `noSpace`.
    mutating func seal(_ device: Int, _ kind: CheckpointKind) throws(Stop) -> SealedCheckpoint {
        guard devices[device].disk.replica != nil, devices[device].disk.record.applying == nil else {
            throw .failed(.other)
        }
        try finishSealing(device)
        if devices[device].disk.isFull { throw .failed(.noSpace) }
        let record = devices[device].disk.record
        let state = devices[device].ram
        let changes = Pack(from: devices[device].tables, to: state)
        try write(device)
        let checkpoint = SealedCheckpoint(
            number: Int32(sealed.count), sequence: record.sequence.next, parent: record.sequence,
            epoch: devices[device].disk.tenure?.epoch ?? Epoch(rawValue: 0), device: device, kind: kind, pack: changes,
            units: changes.units, work: devices[device].work)
        sealed.append(checkpoint)
        devices[device].disk.outbox.removeAll { $0.sequence == checkpoint.sequence }
        devices[device].disk.outbox.append(.init(checkpoint))
        if kind == .off { syncOutbox(device) }
        note("device \(device) seals \(checkpoint.sequence) under epoch \(checkpoint.epoch)")
        try write(device)
        try finish(device, checkpoint)
        return checkpoint
    }

    /// What is sealed of a VM that is off survives a power loss, and is of no use without what waits before it.
    private mutating func syncOutbox(_ device: Int) {
        for place in devices[device].disk.outbox.indices { devices[device].disk.outbox[place].isSynced = true }
    }

    /// Finishes what a killed daemon sealed on top of the checkpoint that the replica holds.
    mutating func finishSealing(_ device: Int) throws(Stop) {
        let disk = devices[device].disk
        guard !disk.record.isDamaged, disk.record.applying == nil,
            let waiting = disk.outbox.first(where: { $0.sequence == disk.record.sequence.next }),
            !waiting.isOfEarlierBoot, !waiting.isReceived,
            sealed[Int(waiting.number)].pack.parentDigest == devices[device].tables
        else { return }
        try finish(device, sealed[Int(waiting.number)])
    }

    private mutating func finish(_ device: Int, _ checkpoint: SealedCheckpoint) throws(Stop) {
        let tables = devices[device].tables
        devices[device].tables = checkpoint.pack.apply(to: devices[device].tables)
        do { try write(device) } catch {
            // The next daemon puts the hashes again; which were put already makes no difference.
            devices[device].tables = tables
            throw error
        }
        devices[device].disk.record = .init(sequence: checkpoint.sequence, kind: checkpoint.kind)
    }

    /// Makes one of the two newest that wait, if more wait than should. (`Replica.mergeOutbox`)
    mutating func mergeOutbox(_ device: Int) throws(Stop) {
        let waiting = devices[device].disk.waiting
        guard let (_, earlier, later) = OutboxOrder.nextMerge(of: waiting) else { return }
        let isRefused = settings.allows(.mergeRefused) && random.half()
        if isRefused { faults.note(.mergeRefused) }
        let unitsMax = isRefused ? 0 : Registers.scalarCount * 2
        note("device \(device) merges \(earlier.sequence) and \(later.sequence)")
        guard OutboxOrder.mayMerge(earlier, later, unitsMax: unitsMax) else { throw .failed(.other) }
        let pack = sealed[Int(earlier.number)].pack.merged(with: sealed[Int(later.number)].pack)
        let merged = SealedCheckpoint(
            number: Int32(sealed.count), sequence: later.sequence, parent: earlier.parent,
            epoch: later.epoch, device: device, kind: later.kind, pack: pack, units: pack.units,
            work: later.work)
        try write(device)
        sealed.append(merged)
        guard let place = devices[device].disk.outbox.firstIndex(where: { $0.sequence == later.sequence }) else {
            return
        }
        let old = devices[device].disk.outbox[place]
        devices[device].disk.outbox[place] = .init(merged)
        devices[device].disk.outbox[place].awaitedBy = old.awaitedBy
        devices[device].disk.outbox[place].mayBeSaved = old.mayBeSaved
        try write(device)
        tidyOutbox(device)
    }

    /// Merges what may be merged, so that few wait.
    mutating func settleOutbox(_ device: Int) throws(Stop) {
        while OutboxOrder.nextMerge(of: devices[device].disk.waiting) != nil { try mergeOutbox(device) }
    }

    /// Removes what a merge leaves behind, also one that was killed.
    mutating func tidyOutbox(_ device: Int) {
        let kept = devices[device].disk.waiting.map(\.sequence)
        let newest = devices[device].disk.record.sequence
        devices[device].disk.outbox.removeAll { $0.sequence <= newest && !kept.contains($0.sequence) }
    }

    mutating func acknowledge(_ device: Int, _ sequence: Sequence) {
        devices[device].disk.outbox.removeAll { $0.sequence == sequence }
    }

    // MARK: Applying

    /// Applies a pack of the inbox. (`Replica.applyInbox`)
    mutating func applyInbox(_ device: Int, _ number: Int32) throws(Stop) {
        let checkpoint = sealed[Int(number)]
        if canary != .unorderedApply { try checkFollows(device, checkpoint) }
        try write(device)
        devices[device].disk.record.applying = number
        try write(device)
        devices[device].ram = checkpoint.pack.apply(to: devices[device].ram)
        try write(device)
        devices[device].tables = checkpoint.pack.apply(to: devices[device].tables)
        try write(device)
        guard canary == .unorderedApply || devices[device].tables == checkpoint.pack.digest else {
            devices[device].disk.record.applying = nil
            devices[device].disk.record.isDamaged = true
            throw .failed(.corrupt)
        }
        devices[device].work = checkpoint.work
        devices[device].disk.record = .init(sequence: checkpoint.sequence, kind: checkpoint.kind)
        devices[device].disk.inbox = nil
    }

    private func checkFollows(_ device: Int, _ checkpoint: SealedCheckpoint) throws(Stop) {
        let record = devices[device].disk.record
        if record.isDamaged { throw .failed(.corrupt) }
        let isAgain = record.applying == checkpoint.number
        guard record.sequence == checkpoint.parent, record.applying == nil || isAgain,
            isAgain || devices[device].tables == checkpoint.pack.parentDigest
        else { throw .failed(.outOfOrder) }
        // A guest's write to a disk is noted by its overlay.
        guard isAgain || devices[device].ram.hasDisk(of: devices[device].tables) else { throw .failed(.wrongState) }
    }

    // MARK: Beginning again

    /// Back to the base: the record first, so that whatever happens the next start begins from there. (`Replica.reset`)
    /// - Parameter keepsOutbox: what waits is of no use to this replica any more, but to others.
    mutating func reset(_ device: Int, keepsOutbox: Bool = false) throws(Stop) {
        let end = keepsOutbox ? devices[device].disk.record.outboxEnd : nil
        devices[device].disk.record = .init(isDamaged: true, isBeingReset: true, outboxEnd: end)
        try write(device)
        if !keepsOutbox { devices[device].disk.outbox = [] }
        devices[device].disk.inbox = nil
        try write(device)
        devices[device].ram = .zero
        devices[device].tables = .zero
        devices[device].work = WorkTree.base
        try write(device)
        devices[device].disk.record = .init(outboxEnd: end)
    }

    mutating func markDamaged(_ device: Int) { devices[device].disk.record.isDamaged = true }

    /// The VM ran here and its QEMU is gone, unless its last checkpoint was sealed: then it has stood still since.
    mutating func markLost(_ device: Int) {
        let last = devices[device].disk.tenure?.departure?.sequence
        if last == devices[device].disk.record.sequence { return }
        markDamaged(device)
    }

    /// - Parameter isSynced: whether it survives a power loss at once.
    mutating func saveTenure(_ device: Int, _ tenure: Tenure?, isSynced: Bool = false) throws(Stop) {
        devices[device].disk.tenureBefore = isSynced ? tenure : devices[device].disk.tenure
        devices[device].disk.tenureWritten = now
        devices[device].disk.tenure = tenure
        try write(device)
    }
}

extension Pack {
    /// How many registers it changes.
    var units: Int {
        var count = 0
        for lane in 0..<Registers.scalarCount where changed[lane] { count += 1 }
        return count
    }
}
