import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// What the caller knows of the checkpoint to seal.
package struct CheckpointHeader: Sendable {
    package var kind: Manifest.Kind
    package var epoch: Epoch
    package var device: DeviceID
    /// Seconds since 1970.
    package var created: Double
    package var qemu: String
    /// By what the guest's processor is run.
    package var accelerator: String?

    package init(
        kind: Manifest.Kind, epoch: Epoch, device: DeviceID, created: Double, qemu: String, accelerator: String? = nil
    ) {
        self.kind = kind
        self.epoch = epoch
        self.device = device
        self.created = created
        self.qemu = qemu
        self.accelerator = accelerator
    }
}

extension Replica {
    /// Makes a pack of what was captured and moves the replica on to it. The guest may run meanwhile.
    ///
    /// Order: pack, new hashes and device state are written beside each other → the folder gets its final name, which is
    /// the moment of sealing → hashes, disks, device state and record follow. Killed before that moment, the checkpoint
    /// never was, and its changes are found again by comparing; killed after it, the next daemon finishes
    /// (`finishSealing`).
    ///
    /// Not fsynced unless the VM is off: a power loss takes a running VM along, and then the server's head is what counts.
    package func seal(
        _ capture: Capture, deviceState: [UInt8], header: CheckpointHeader
    ) throws(VMSyncError) -> SealedCheckpoint {
        defer {
            capture.release()
            captured.forget()
        }
        guard record.damage == nil, record.applying == nil else {
            throw VMSyncError(
                .wrongState, "nothing can follow checkpoint \(record.sequence): \(record.damage ?? "it is not whole")")
        }
        let sequence = record.sequence.next
        let folder = sealedFolder(sequence)
        let draft = folder + ".new"
        AtomicFile.remove(draft)
        try AtomicFile.makeFolder(draft)
        do throws(VMSyncError) {
            let note = try write(capture, deviceState: deviceState, header: header, draft: draft)
            if header.kind == .off { try syncOutbox() }
            try Fault.point("before-seal")
            // One that was received and never applied.
            AtomicFile.remove(folder)
            guard rename(draft, folder) == 0 else { throw .system("rename", path: folder) }
            if header.kind == .off { try AtomicFile.syncFolder(of: folder) }
            try Fault.point("after-seal")
            try finish(note)
            checkedState = note.record.digest.deviceState
            return note.checkpoint
        } catch {
            // The cache may hold pages of the checkpoint that was not sealed.
            parents.forgetAll()
            throw error
        }
    }

    /// Chooses how strongly the next checkpoint is compressed; `CompressionPlan` says what the parameters are.
    package func planCompression(link: Double?, interval: Double, isAwaited: Bool = false) {
        let plan = CompressionPlan(link: link, encoder: encoder, interval: interval, isAwaited: isAwaited)
        workspace.level = plan.level(forPackOf:)
    }

    /// Finishes what a killed daemon sealed on top of the checkpoint that the replica holds. One that was finished has no
    /// file of hashes any more: a replica that went back to its parent since must not be moved on by it.
    func finishSealing() throws(VMSyncError) {
        guard record.damage == nil, record.applying == nil, let note = try note(of: record.sequence.next),
            note.parent == record.digest.combined,
            FileManager.default.fileExists(atPath: hashesPath(note.checkpoint.sequence))
        else { return }
        // Sealed under an earlier boot, when memory was another.
        guard note.record.bootID == record.bootID else {
            if note.checkpoint.sequence > record.outboxEnd ?? .base { acknowledge(note.checkpoint.sequence) }
            return
        }
        try finish(note)
    }

    /// Drops what only finishing needs.
    func endSealing() {
        AtomicFile.remove(hashesPath(record.sequence))
        endDeviceState(in: sealedFolder(record.sequence))
    }

    private func hashesPath(_ sequence: Sequence) -> String { sealedFolder(sequence) + "/hashes" }

    private func finish(_ note: SealNote) throws(VMSyncError) {
        let sequence = note.checkpoint.sequence
        if note.checkpoint.kind == .off {
            try memory.clear()
            try pages.clear()
            parents.forgetAll()
        }
        let spaces = [UnitSpace.memory] + disks.indices.map { .disk($0) }
        try HashChangesFile.put(hashesPath(sequence), into: [pages] + disks.map(\.hashes)) { table, index, content in
            finder?.insert(content, at: UnitID(spaces[table], index))
        }
        for (disk, upTo) in zip(disks, note.upTo) { disk.overlay.seal(upTo: upTo) }
        try finishDeviceState(note)
        try Fault.point("seal-unrecorded")
        record = note.record
        try saveRecord()
        endSealing()
        removeOldDeviceStates()
    }

    private func write(
        _ capture: Capture, deviceState: [UInt8], header: CheckpointHeader, draft: String
    ) throws(VMSyncError) -> SealNote {
        let sequence = record.sequence.next
        let file = try PackFile(path: draft + "/pack")
        let start = ContinuousClock.now
        let writer = try PackWriter(workspace, clock: { (ContinuousClock.now - start).seconds }, sink: file.write)
        let stateHash = header.kind == .live ? try write(deviceState, of: sequence, to: writer, draft: draft) : .zero
        let search = ContentSearch(self, capture, usesMemory: header.kind == .live)
        var changes =
            try header.kind == .live ? [writePages(to: writer, search)] : [HashChanges(clearing: pages)]
        for (index, frozen) in capture.frozen.enumerated() {
            changes.append(try write(frozen, disk: index, to: writer, search))
        }
        let digest = StateDigest(
            memory: changes[0].sum, disks: changes.dropFirst().map(\.sum), deviceState: stateHash)
        let manifest = manifest(header, sequence: sequence, digest: digest, deviceStateBytes: deviceState.count)
        let length = try writer.finish(manifest)
        try HashChangesFile.write(changes, to: draft + "/hashes")
        lastTally = writer.tally
        encoder = EncoderEstimate(encoder, writer.frames)
        let note = SealNote(
            checkpoint: SealedCheckpoint(
                sequence: sequence, parent: record.sequence, epoch: header.epoch, kind: header.kind,
                digest: digest.combined, packPath: packPath(sequence), packBytes: length,
                units: changes.reduce(0) { $0 + $1.indices.count }, created: header.created),
            record: ReplicaRecord(
                vm: record.vm, sequence: sequence, kind: header.kind, digest: digest, qemu: header.qemu,
                accelerator: header.accelerator, bootID: record.bootID, applying: nil, damage: nil),
            parent: record.digest.combined, upTo: capture.frozen.map(\.upTo))
        if header.kind == .off { try file.sync() }
        try AtomicFile.write(note, to: draft + "/seal.json", durable: header.kind == .off)
        return note
    }

    private func manifest(
        _ header: CheckpointHeader, sequence: Sequence, digest: StateDigest, deviceStateBytes: Int
    ) -> Manifest {
        Manifest(
            vm: record.vm, sequence: sequence, parent: record.sequence, epoch: header.epoch, device: header.device,
            created: header.created, kind: header.kind, definition: definition, qemu: header.qemu,
            accelerator: header.accelerator, parentDigest: record.digest.combined, digest: digest,
            deviceStateBytes: header.kind == .live ? deviceStateBytes : 0)
    }

    /// Writes the captured pages that really changed; one pass over each: hash, compare, encode, keep.
    private func writePages(
        to writer: PackWriter, _ search: borrowing ContentSearch
    ) throws(VMSyncError) -> HashChanges {
        var changes = HashChanges(over: pages)
        try captured.forEach { index, page throws(VMSyncError) in
            let old = pages[index]
            let new = UnitHash.page(page)
            guard new != old else { return }
            var isOnBase = false
            try writer.addMemory(index, page, parent: parents.page(index)) { () throws(VMSyncError) in
                let source = try search.source(of: new, page)
                if case .base? = source { isOnBase = true }
                return source
            }
            changes.add(index, from: old, to: new)
            search.noteNew(new, page: index)
            // What the guest has read from its disk it seldom changes; such pages would drive the others out.
            if new == .zero || isOnBase { parents.forget(index) } else { parents.keep(index, page) }
        }
        return changes
    }

    private func write(
        _ frozen: FrozenDisk, disk index: Int, to writer: PackWriter, _ search: borrowing ContentSearch
    ) throws(VMSyncError) -> HashChanges {
        let hashes = disks[index].hashes
        var changes = HashChanges(over: hashes)
        var buffer = [UInt8](repeating: 0, count: Unit.size)
        for block in frozen.blocks.sorted(by: { $0.index < $1.index }) {
            try buffer.withMutableRawBytes { bytes throws(VMSyncError) in try frozen.read(block, into: bytes) }
            let unit = Int(block.index)
            let old = hashes[unit]
            try buffer.withRawBytes { bytes throws(VMSyncError) in
                let new = UnitHash.block(bytes)
                guard new != old else { return }
                try writer.addBlock(disk: index, unit, bytes) { () throws(VMSyncError) in
                    try search.source(of: new, bytes)
                }
                changes.add(unit, from: old, to: new)
            }
        }
        return changes
    }
}
