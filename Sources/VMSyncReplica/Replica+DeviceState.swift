import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// The file of the device state: 4.6 MB with the picture of a desktop, of which most checkpoints change some KB. To write
/// all of it anew took 4 ms of each. So sealing changes the parent's file where it lies, from a file of what is new in it.
extension Replica {
    /// The device state of the checkpoint that the replica holds; empty if the VM is off.
    package func deviceState() throws(VMSyncError) -> [UInt8] {
        if let appliedState, appliedState.hash == record.digest.deviceState { return appliedState.bytes }
        return try withDeviceState { Array($0) }
    }

    /// Maps the device state of the checkpoint that the replica holds for the time of `body`.
    func withDeviceState<Result>(
        _ body: (UnsafeRawBufferPointer) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        guard record.kind == .live else { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        let path = paths.deviceState(record.sequence)
        guard FileManager.default.fileExists(atPath: path) else {
            throw VMSyncError(.corrupt, "\(path) is missing")
        }
        return try MappedFile.with(path) { state throws(VMSyncError) in
            if checkedState != record.digest.deviceState {
                guard Hash128(of: state) == record.digest.deviceState else {
                    throw VMSyncError(.corrupt, "\(path) isn't that of checkpoint \(record.sequence)")
                }
                checkedState = record.digest.deviceState
            }
            return try body(state)
        }
    }

    /// Writes the device state of a checkpoint that was applied.
    func put(deviceState state: [UInt8], hash: Hash128, of sequence: Sequence) throws(VMSyncError) {
        try AtomicFile.write(bytes: state, to: paths.deviceState(sequence))
        checkedState = hash
    }

    /// Writes the device state of a checkpoint that is being sealed, for `finishDeviceState`: into `draft` what differs
    /// from the parent's. The whole of it where that isn't as long, or has to stay because a merge may need it.
    /// - Returns: its hash.
    func write(
        _ state: [UInt8], of sequence: Sequence, to writer: PackWriter, draft: String
    ) throws(VMSyncError) -> Hash128 {
        try withDeviceState { parent throws(VMSyncError) in try writer.addDeviceState(state, parent: parent) }
        // What waits there and can't be read may be merged all the same.
        let isLastToNeedParent = (try? outbox().isEmpty) ?? false
        if record.kind == .live, isLastToNeedParent, let runs = writer.deviceStateRuns {
            try AtomicFile.write(bytes: runs, to: Self.stateRunsPath(in: draft))
        } else {
            try AtomicFile.write(bytes: state, to: paths.deviceState(sequence))
        }
        return state.withRawBytes { Hash128(of: $0) }
    }

    /// Makes the parent's file that of the sealed checkpoint; doing it twice is the same as once.
    func finishDeviceState(_ note: SealNote) throws(VMSyncError) {
        let sequence = note.checkpoint.sequence
        let runsPath = Self.stateRunsPath(in: sealedFolder(sequence))
        let parentPath = paths.deviceState(record.sequence)
        let isThere = FileManager.default.fileExists(atPath:)
        // Without the parent's, a daemon that was killed came as far as the last step.
        if isThere(runsPath), isThere(parentPath) {
            checkedState = nil
            try MappedFile.with(runsPath) { runs throws(VMSyncError) in
                try MappedFile.withWritable(parentPath) { state throws(VMSyncError) in
                    try StateRuns.apply(runs, to: state)
                }
            }
            try Fault.point("seal-state-unnamed")
            let path = paths.deviceState(sequence)
            guard rename(parentPath, path) == 0 else { throw .system("rename", path: path) }
        }
    }

    /// Drops what only finishing needs.
    func endDeviceState(in folder: String) { AtomicFile.remove(Self.stateRunsPath(in: folder)) }

    private static func stateRunsPath(in folder: String) -> String { folder + "/device-state-runs" }

    /// Removes all device states but that of the checkpoint that the replica holds, and those that merging needs.
    func removeOldDeviceStates() {
        let needed = (record.kind == .live ? [record.sequence] : []) + mergeParents
        let current = Set(needed.map(MachinePaths.deviceStateName))
        let names = (try? FileManager.default.contentsOfDirectory(atPath: paths.memory)) ?? []
        for name in names where name.hasPrefix(MachinePaths.deviceStatePrefix) && !current.contains(name) {
            AtomicFile.remove("\(paths.memory)/\(name)")
        }
    }
}
