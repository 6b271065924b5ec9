import VMSyncCheckpoint
import VMSyncCore

extension MachineDefinition {
    /// A machine as the tests need it, valid for every module.
    package static func sample(
        _ architecture: Architecture = .x86_64, memory: UInt64 = 16 << 20, disks: [UInt64] = [1 << 20],
        boot: DirectBoot? = nil
    ) -> MachineDefinition {
        MachineDefinition(
            architecture: architecture, cores: 1, memory: memory, disks: disks.map { Disk(size: $0) }, boot: boot,
            macAddress: "52:54:00:12:34:56", generationID: "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87")
    }
}

extension Manifest {
    /// A manifest of checkpoint 1, made from the base, of a live VM without a change.
    package static func sample(
        _ definition: MachineDefinition = .sample(), kind: Kind = .live, deviceState: [UInt8] = []
    ) -> Manifest {
        let base = StateDigest.base(disks: definition.disks.count)
        var digest = base
        if kind == .live { digest.deviceState = deviceState.withRawBytes { Hash128(of: $0) } }
        return Manifest(
            vm: .random(), sequence: Sequence(rawValue: 1), parent: .base, epoch: Epoch(rawValue: 1),
            device: .random(), created: 1_700_000_000, kind: kind, definition: definition, qemu: "7.2.22",
            parentDigest: base.combined, digest: digest, deviceStateBytes: kind == .live ? deviceState.count : 0)
    }
}
