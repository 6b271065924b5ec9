import VMSyncCore

/// What a checkpoint says of itself; the last part of a pack (docs/format/checkpoint.md, "Manifest").
package struct Manifest: Hashable, Sendable, Codable {
    package enum Kind: String, Sendable, Codable {
        /// The VM goes on from it.
        case live
        /// The VM is shut down: no memory, no device state.
        case off
    }

    package var vm: VMID
    package var sequence: Sequence
    /// `Sequence.base` makes the pack a keyframe.
    package var parent: Sequence
    package var epoch: Epoch
    package var device: DeviceID
    /// Seconds since 1970, by the clock of the device; for people, never for decisions.
    package var created: Double
    package var kind: Kind
    package var definition: MachineDefinition
    /// Version of the QEMU that saved the device state: "7.2.22".
    package var qemu: String
    /// By what the guest's processor was run: "kvm", "tcg"; nil if its device didn't say.
    package var accelerator: String?
    package var parentDigest: Hash128
    package var digest: StateDigest
    package var deviceStateBytes: Int

    package init(
        vm: VMID, sequence: Sequence, parent: Sequence, epoch: Epoch, device: DeviceID, created: Double, kind: Kind,
        definition: MachineDefinition, qemu: String, accelerator: String? = nil, parentDigest: Hash128,
        digest: StateDigest, deviceStateBytes: Int
    ) {
        self.vm = vm
        self.sequence = sequence
        self.parent = parent
        self.epoch = epoch
        self.device = device
        self.created = created
        self.kind = kind
        self.definition = definition
        self.qemu = qemu
        self.accelerator = accelerator
        self.parentDigest = parentDigest
        self.digest = digest
        self.deviceStateBytes = deviceStateBytes
    }

    package var isKeyframe: Bool { parent == .base }

    /// Whether its fields fit each other, so far as they say so by themselves.
    var isConsistent: Bool {
        let hasState = digest.memory != .zero || digest.deviceState != .zero || deviceStateBytes != 0
        return sequence > parent && digest.disks.count == definition.disks.count && (kind == .live || !hasState)
    }

    enum CodingKeys: String, CodingKey {
        case vm, sequence, parent, epoch, device, created, kind, definition, qemu, accelerator, digest
        case parentDigest = "parent_digest"
        case deviceStateBytes = "device_state_bytes"
    }
}
