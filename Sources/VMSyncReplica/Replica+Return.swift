import VMSyncCheckpoint
import VMSyncCore

extension Replica {
    /// Writes the pack of a checkpoint that is what this replica holds: with it a VM goes back. It changes nothing.
    package func writeReturn(
        as sequence: Sequence, header: CheckpointHeader, to path: String
    ) throws(VMSyncError) {
        guard record.damage == nil, record.applying == nil, sequence > record.sequence else {
            throw VMSyncError(
                .wrongState, "checkpoint \(record.sequence) isn't whole here, so nothing can go back to it")
        }
        let file = try PackFile(path: path)
        let writer = try PackWriter(workspace, sink: file.write)
        let state = try deviceState()
        if record.kind == .live {
            try state.withRawBytes { parent throws(VMSyncError) in try writer.addDeviceState(state, parent: parent) }
        }
        _ = try writer.finish(
            Manifest(
                vm: record.vm, sequence: sequence, parent: record.sequence, epoch: header.epoch, device: header.device,
                created: header.created, kind: record.kind, definition: definition, qemu: record.qemu ?? header.qemu,
                accelerator: record.accelerator,
                parentDigest: record.digest.combined, digest: record.digest, deviceStateBytes: state.count))
    }
}
