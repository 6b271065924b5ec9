import VMSyncCheckpoint
import VMSyncCore

/// Which checkpoint a replica holds; `replica.json`.
package struct ReplicaRecord: Sendable, Codable, Hashable {
    package var vm: VMID
    package var sequence: Sequence
    package var kind: Manifest.Kind
    package var digest: StateDigest
    /// Version of the QEMU that saved the device state; nil at the base.
    package var qemu: String?
    /// By what its guest's processor was run; nil at the base, or if that isn't known.
    package var accelerator: String?
    /// The boot of the host under which it was written: RAM and what wasn't flushed are gone under another.
    package var bootID: String
    /// The pack that is being applied. If the daemon dies meanwhile, it is applied again: that changes nothing where it
    /// was applied already.
    package var applying: Sequence?
    /// The state isn't that of any checkpoint, so it must not run; the reason.
    package var damage: String?

    /// After a reboot: up to here what was sealed before it waits in the outbox, though the replica began again at the base.
    package var outboxEnd: Sequence?

    package var saver: Saver? { qemu.map { Saver(qemu: $0, accelerator: accelerator) } }

    /// The damage of a replica that was on its way back to the base; the next daemon goes on.
    static let beingReset = "it is being reset"

    package static func base(_ vm: VMID, disks: Int, bootID: String) -> ReplicaRecord {
        ReplicaRecord(
            vm: vm, sequence: .base, kind: .off, digest: .base(disks: disks), qemu: nil, bootID: bootID, applying: nil,
            damage: nil)
    }
}
