#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import VMSyncCheckpoint
import VMSyncCore
import VMSyncPolicy

/// Checkpoints that another device has sealed and the server doesn't have yet. (docs/protocol/direct.md)
extension Replica {
    /// Applies the pack that lies in the inbox as checkpoint `sequence`, and keeps it in the outbox as if it had been sealed
    /// here: who gets the VM from that state on sends it to the server.
    ///
    /// Order: the pack is linked into the outbox with a note → it is applied, as any → only then does the note count, for it
    /// names a checkpoint that the replica didn't hold before.
    /// - Parameters:
    ///   - epoch: under which it was sealed.
    ///   - units: that it changes, as the other device says; only merging goes by it.
    /// - Throws: as `applyInbox`; `wrongState` if it doesn't follow what the replica holds.
    package func receive(_ sequence: Sequence, epoch: Epoch, units: Int) throws(VMSyncError) {
        let note = try noteForReceiving(sequence, epoch, units)
        let folder = sealedFolder(sequence)
        AtomicFile.remove(folder)
        try AtomicFile.makeFolder(folder)
        do throws(VMSyncError) {
            guard link(inboxPath(sequence), packPath(sequence)) == 0 else {
                throw .system("link", path: packPath(sequence))
            }
            try AtomicFile.write(note, to: notePath(sequence))
            try applyInbox(sequence)
            // A replica of a VM that is off survives a loss of power: so must what says whose it is.
            if record.kind == .off { try syncOutbox() }
        } catch {
            // Applied again by the next daemon if it had begun.
            if record.applying != sequence { AtomicFile.remove(folder) }
            throw error
        }
    }

    private func noteForReceiving(_ sequence: Sequence, _ epoch: Epoch, _ units: Int) throws(VMSyncError) -> SealNote {
        let path = inboxPath(sequence)
        return try MappedFile.with(path) { bytes throws(VMSyncError) in
            let manifest = try PackReader(bytes).manifest
            guard !manifest.isKeyframe, manifest.parent == record.sequence, manifest.sequence == sequence else {
                throw VMSyncError(
                    .wrongState, "checkpoint \(sequence) doesn't follow \(record.sequence), which this replica holds")
            }
            return SealNote(
                checkpoint: SealedCheckpoint(
                    sequence: sequence, parent: record.sequence, epoch: epoch, kind: manifest.kind,
                    digest: manifest.digest.combined, packPath: packPath(sequence), packBytes: bytes.count,
                    units: units, created: manifest.created),
                record: record, parent: record.digest.combined, upTo: [])
        }
    }

    /// Changes what the notes of the outbox say.
    package func changeOutbox(_ change: (inout SealedCheckpoint) -> Void) throws(VMSyncError) {
        for waiting in try outbox() {
            guard var note = try note(of: waiting.sequence) else { continue }
            change(&note.checkpoint)
            if note.checkpoint != waiting { try AtomicFile.write(note, to: notePath(waiting.sequence)) }
        }
    }

    /// Merges what may be merged, so that few wait.
    package func settleOutbox() throws(VMSyncError) {
        while OutboxOrder.nextMerge(of: try outbox()) != nil { try mergeOutbox() }
    }
}
