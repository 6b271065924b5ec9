import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy

/// A checkpoint that is whole on this device; its pack waits in the outbox for the server.
package struct SealedCheckpoint: WaitingCheckpoint, Sendable, Codable, Hashable {
    package var sequence: Sequence
    /// The checkpoint that the pack is relative to.
    package var parent: Sequence
    package var epoch: Epoch
    package var kind: Manifest.Kind
    package var digest: Hash128
    package var packPath: String
    package var packBytes: Int
    /// Units that the pack changes.
    package var units: Int
    package var created: Double
    /// The devices that stand at it.
    package var awaitedBy: Set<DeviceID>?

    /// Whether the server may have it, from another device.
    package var mayBeSaved: Bool?

    package var mustStay: Bool { !(awaitedBy ?? []).isEmpty || mayBeSaved ?? false }

    /// The device stands at `sequence` now, and no longer at any other.
    package mutating func noteStand(of device: DeviceID, at sequence: Sequence) {
        var devices = awaitedBy ?? []
        if self.sequence == sequence { devices.insert(device) } else { devices.remove(device) }
        awaitedBy = devices
    }
}

/// What a sealed folder says, so that sealing can be finished by another daemon.
struct SealNote: Codable {
    var checkpoint: SealedCheckpoint
    var record: ReplicaRecord
    /// The digest of the checkpoint that was there when this one was sealed.
    var parent: Hash128
    /// Per disk, the modification number up to which its blocks are in the pack.
    var upTo: [UInt64]
}

extension Replica {
    /// The sealed checkpoints that the server has not acknowledged, oldest first; each follows the one before.
    package func outbox() throws(VMSyncError) -> [SealedCheckpoint] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: paths.outbox)) ?? []
        var sealed: [SealedCheckpoint] = []
        for number in names.compactMap({ UInt64($0) }).sorted() where number <= lastSealed.rawValue {
            guard let checkpoint = try note(of: Sequence(rawValue: number))?.checkpoint else { continue }
            sealed.append(checkpoint)
        }
        return OutboxOrder.waiting(sealed)
    }

    /// Up to here what lies in the outbox counts. After a reboot the replica is behind what was sealed before.
    private var lastSealed: Sequence { max(record.sequence, record.outboxEnd ?? .base) }

    /// Of what was sealed under an earlier boot, keeps as much as is whole: it was not fsynced.
    func keepOutboxOverReboot() {
        record.outboxEnd = Sequence(rawValue: .max)
        let waiting = (try? outbox()) ?? []
        record.outboxEnd = nil
        for (index, checkpoint) in waiting.enumerated() {
            let follows = index == 0 || checkpoint.parent == waiting[index - 1].sequence
            guard follows, isWhole(checkpoint) else { break }
            record.outboxEnd = checkpoint.sequence
        }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: paths.outbox)) ?? []
        for name in names where UInt64(name).map({ $0 > (record.outboxEnd ?? .base).rawValue }) ?? true {
            AtomicFile.remove("\(paths.outbox)/\(name)")
        }
    }

    private func isWhole(_ checkpoint: SealedCheckpoint) -> Bool {
        do throws(VMSyncError) {
            try MappedFile.with(checkpoint.packPath) { pack throws(VMSyncError) in
                guard try PackReader(pack).manifest.sequence == checkpoint.sequence else {
                    throw VMSyncError(.corrupt, "it is another checkpoint")
                }
            }
            return true
        } catch {
            logger.warning("checkpoint \(checkpoint.sequence) did not survive the reboot: \(error.message)")
            return false
        }
    }

    /// Drops a checkpoint from the outbox: the server has it.
    package func acknowledge(_ sequence: Sequence) { AtomicFile.remove(sealedFolder(sequence)) }

    /// Makes all that waits survive a loss of power. What is sealed of a VM that is off does so, and is of no use without
    /// what waits before it.
    package func syncOutbox() throws(VMSyncError) {
        for waiting in try outbox() {
            let folder = sealedFolder(waiting.sequence)
            for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] {
                try AtomicFile.sync("\(folder)/\(name)")
            }
            try AtomicFile.sync(folder)
        }
        try AtomicFile.sync(paths.outbox)
    }

    /// Makes one of two checkpoints of the outbox, so that however long the server is away, few wait (`OutboxOrder`): the
    /// oldest, which may have reached it, and all others in one.
    ///
    /// Order: the merged pack → the note of the newest names it, which is the moment of merging → what it swallowed
    /// goes.
    /// - Throws: `invalidInput` if the two name more units than may be merged, or the result would pass a limit of the
    ///   format; both stay then.
    package func mergeOutbox() throws(VMSyncError) {
        let waiting = try outbox()
        guard let (before, earlier, later) = OutboxOrder.nextMerge(of: waiting), var note = try note(of: later.sequence)
        else { return }
        guard OutboxOrder.mayMerge(earlier, later, unitsMax: mergeUnitsMax) else {
            throw VMSyncError(
                .invalidInput, "checkpoints \(earlier.sequence) and \(later.sequence) are too large to be merged")
        }
        let state = before.kind == .live ? try readDeviceState(earlier.parent) : []
        // The one that isn't read: what is merged may itself come of a merge.
        let merged = mergedPath(later.sequence)
        let path = later.packPath == merged ? packPath(later.sequence) : merged
        let (length, units) = try merge(earlier, later, deviceState: state, into: path)
        try Fault.point("merge-written")
        note.checkpoint.parent = earlier.parent
        note.checkpoint.packPath = path
        (note.checkpoint.packBytes, note.checkpoint.units) = (length, units)
        try AtomicFile.write(note, to: notePath(later.sequence))
        try Fault.point("merge-noted")
        tidyOutbox()
        removeOldDeviceStates()
    }

    /// Merging unpacks both in memory: an eighth of the guest's at most.
    private var mergeUnitsMax: Int { memory.units / 8 }

    private func merge(
        _ earlier: SealedCheckpoint, _ later: SealedCheckpoint, deviceState: [UInt8], into path: String
    ) throws(VMSyncError) -> (length: Int, units: Int) {
        let file = try PackFile(path: path)
        return try MappedFile.with(earlier.packPath) { first throws(VMSyncError) in
            try MappedFile.with(later.packPath) { second throws(VMSyncError) in
                try Merge.merge(first, second, deviceState: deviceState, workspace: workspace, into: file.write)
            }
        }
    }

    private func readDeviceState(_ sequence: Sequence) throws(VMSyncError) -> [UInt8] {
        try MappedFile.with(paths.deviceState(sequence)) { Array($0) }
    }

    /// The checkpoints whose device states the next merge may need: those that all but the oldest follow.
    var mergeParents: [Sequence] { ((try? outbox()) ?? []).dropFirst().map(\.parent) }

    /// Removes what a merge leaves behind, also one that was killed.
    func tidyOutbox() {
        guard let waiting = try? outbox() else { return }
        let names = (try? FileManager.default.contentsOfDirectory(atPath: paths.outbox)) ?? []
        for number in names.compactMap({ UInt64($0) }) where number <= lastSealed.rawValue {
            let sequence = Sequence(rawValue: number)
            guard let kept = waiting.first(where: { $0.sequence == sequence }) else {
                acknowledge(sequence)
                continue
            }
            for pack in [packPath(sequence), mergedPath(sequence)] where pack != kept.packPath {
                AtomicFile.remove(pack)
            }
        }
    }

    func sealedFolder(_ sequence: Sequence) -> String { "\(paths.outbox)/\(sequence)" }

    func packPath(_ sequence: Sequence) -> String { sealedFolder(sequence) + "/pack" }

    private func mergedPath(_ sequence: Sequence) -> String { sealedFolder(sequence) + "/merged" }

    func notePath(_ sequence: Sequence) -> String { sealedFolder(sequence) + "/seal.json" }

    func note(of sequence: Sequence) throws(VMSyncError) -> SealNote? {
        try AtomicFile.read(SealNote.self, at: notePath(sequence))
    }
}
