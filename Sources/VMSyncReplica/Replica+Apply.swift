import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

extension Replica {
    /// Where the pack of checkpoint `sequence` is to be put before `applyInbox`.
    package func inboxPath(_ sequence: Sequence) -> String { "\(paths.inbox)/\(sequence).pack" }

    /// Applies the pack that lies in the inbox as checkpoint `sequence`; it must not change meanwhile.
    ///
    /// Order: everything is checked → the record says *applying* → units, hashes, device state → the record names the
    /// new checkpoint → the pack is removed. Killed anywhere in between, the same pack is applied again.
    /// - Returns: the manifest of the checkpoint that the replica holds now.
    /// - Throws: `corrupt` or `incompatible`, with nothing changed; or `corrupt` with the replica marked as damaged, if
    ///   the digest came out wrong in spite of all checks.
    @discardableResult
    package func applyInbox(_ sequence: Sequence) throws(VMSyncError) -> Manifest {
        let manifest = try MappedFile.with(inboxPath(sequence)) { bytes throws(VMSyncError) in
            try apply(PackReader(bytes), as: sequence)
        }
        AtomicFile.remove(inboxPath(sequence))
        return manifest
    }

    private func apply(_ reader: PackReader, as sequence: Sequence) throws(VMSyncError) -> Manifest {
        let manifest = reader.manifest
        try checkFollows(manifest, as: sequence)
        let parentState = manifest.isKeyframe ? [] : try deviceState()
        try parentState.withRawBytes { bytes throws(VMSyncError) in try reader.validate(parentDeviceState: bytes) }
        let state = try parentState.withRawBytes { bytes throws(VMSyncError) in
            try reader.deviceState(parent: bytes)
        }
        // Always, for a VM that ran from the base has changed it.
        if manifest.isKeyframe { try clearAll() }
        record.applying = sequence
        try saveRecord()
        try Fault.point("apply-begun")
        if manifest.kind == .off { try clearMemory() }
        try reader.forEachUnit { target, index, change throws(VMSyncError) in
            try apply(change, to: target, at: index)
        }
        try Fault.point("apply-units-done")
        try finishApplying(manifest, state: state)
        return manifest
    }

    /// Whether a pack was being applied when the daemon died; it is then to be applied again, and lies in the inbox.
    package var interruptedApply: Sequence? {
        record.applying.flatMap { FileManager.default.fileExists(atPath: inboxPath($0)) ? $0 : nil }
    }

    private func checkFollows(_ manifest: Manifest, as sequence: Sequence) throws(VMSyncError) {
        guard manifest.vm == record.vm, manifest.sequence == sequence else {
            throw VMSyncError(
                .corrupt, "the pack is checkpoint \(manifest.sequence) of VM \(manifest.vm), expected \(sequence)")
        }
        guard manifest.definition == definition else {
            throw VMSyncError(.incompatible, "checkpoint \(sequence) is of a VM that is built otherwise")
        }
        if manifest.isKeyframe { return }
        guard record.damage == nil else {
            throw VMSyncError(.corrupt, "this replica is damaged: \(record.damage ?? "")")
        }
        guard manifest.parent == record.sequence, manifest.parentDigest == record.digest.combined else {
            throw VMSyncError(
                .outOfOrder,
                "checkpoint \(sequence) follows \(manifest.parent), this replica holds \(record.sequence)")
        }
        guard record.applying == nil || record.applying == sequence else {
            throw VMSyncError(.outOfOrder, "this replica has a part of checkpoint \(record.applying ?? .base)")
        }
        guard disks.allSatisfy({ $0.overlay.dirtyCount == 0 }) else {
            throw VMSyncError(.wrongState, "the VM wrote to its disks here since checkpoint \(record.sequence)")
        }
    }

    private func clearMemory() throws(VMSyncError) {
        try memory.clear()
        try pages.clear()
        parents.forgetAll()
    }

    @inline(__always)
    private func apply(
        _ change: UnitChange, to target: PackReader.Target, at index: Int
    ) throws(VMSyncError) {
        switch target {
        case .memory: applyPage(change, at: index)
        case .disk(let disk): try applyBlock(change, to: disks[disk], at: index)
        }
    }

    private func applyPage(_ change: UnitChange, at index: Int) {
        switch change {
        case .zero:
            memory.punch(index)
            parents.forget(index)
            pages.set(index, .zero)
            return
        case .whole(let bytes):
            memory.writablePage(index).copyMemory(from: bytes)
        case .delta(let delta):
            Delta.apply(delta, to: memory.writablePage(index))
        }
        let page = memory.page(index)
        parents.keep(index, page)
        pages.set(index, UnitHash.memory(index, page))
    }

    private func applyBlock(_ change: UnitChange, to disk: Disk, at index: Int) throws(VMSyncError) {
        switch change {
        case .zero:
            try disk.overlay.apply(block: UInt64(index), content: nil)
            disk.hashes.set(index, UnitHash.zeroBlock(index))
        case .whole(let bytes):
            try disk.overlay.apply(block: UInt64(index), content: bytes)
            disk.hashes.set(index, UnitHash.block(index, bytes))
        case .delta:
            throw VMSyncError(.bug, "a disk block came as a delta past the reader")
        }
    }

    private func finishApplying(_ manifest: Manifest, state: [UInt8]?) throws(VMSyncError) {
        var digest = currentDigestOfTables()
        digest.deviceState = manifest.digest.deviceState
        guard digest == manifest.digest else {
            record.damage =
                "after checkpoint \(manifest.sequence) its digest is \(digest.combined), not \(manifest.digest.combined)"
            record.applying = nil
            try saveRecord()
            throw VMSyncError(
                .corrupt, "this replica is damaged: \(record.damage ?? "")",
                hint: "it is rebuilt from the server by itself; see vmsync status")
        }
        if let state { try AtomicFile.write(Data(state), to: paths.deviceState(manifest.sequence)) }
        try Fault.point("apply-unrecorded")
        record = ReplicaRecord(
            vm: record.vm, sequence: manifest.sequence, kind: manifest.kind, digest: digest, qemu: manifest.qemu,
            bootID: record.bootID, applying: nil, damage: nil)
        try saveRecord()
        removeOldDeviceStates()
    }
}
