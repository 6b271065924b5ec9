import Foundation
import VMSyncCore

/// What a checkpoint left behind: a VM that runs on, or one that was shut down.
package enum CheckpointKind: String, Hashable, Sendable, Codable {
    /// Memory, disks and devices of a running VM.
    case live
    /// Disks of a VM that was shut down; it starts by booting.
    case off
}

/// A checkpoint as the server knows it. The pack itself is opaque to it. (docs/protocol/sync-api.md, "Records")
package struct CheckpointRecord: Hashable, Sendable, Codable {
    package let sequence: Sequence
    /// What its own pack is relative to.
    package let basis: Sequence
    /// The epoch under which it was made.
    package let epoch: Epoch
    /// The device that made it.
    package let device: DeviceID
    package let kind: CheckpointKind
    /// Bytes of the encrypted pack.
    package let size: UInt64
    /// The SHA-256 of the encrypted pack.
    package let checksum: ContentHash
    /// What the device has signed of it; only devices read it.
    package let statement: Data
    /// When the server accepted it.
    package let created: Timestamp

    package init(
        sequence: Sequence, basis: Sequence, epoch: Epoch, device: DeviceID, kind: CheckpointKind, size: UInt64,
        checksum: ContentHash, statement: Data, created: Timestamp
    ) {
        self.sequence = sequence
        self.basis = basis
        self.epoch = epoch
        self.device = device
        self.kind = kind
        self.size = size
        self.checksum = checksum
        self.statement = statement
        self.created = created
    }
}

extension CheckpointRecord {
    /// Whether it is the checkpoint that `device` has sealed under this number, with this pack. What stands there may also
    /// come from another device, or from an earlier attempt of the same one.
    package func isThat(of device: DeviceID, at sequence: Sequence, _ checksum: ContentHash) -> Bool {
        self.sequence == sequence && self.device == device && self.checksum == checksum
    }
}

/// What becomes of the lease with a commit.
package enum AfterCommit: Hashable, Sendable {
    /// The holder stays active.
    case keep
    /// The lease becomes free.
    case release
    /// The lease goes to the target of this switch.
    case move(SwitchID)
}

/// A checkpoint that a device asks the server to make the head; the server adds who and when.
package struct CommitOffer: Hashable, Sendable {
    /// The epoch under which it was made.
    package let epoch: Epoch
    /// Higher than the parent's.
    package let sequence: Sequence
    /// The checkpoint that it follows, to be the head's.
    package let parent: Sequence
    /// What the pack is relative to: the parent, or an earlier checkpoint that the VM goes back to.
    package let basis: Sequence
    package let kind: CheckpointKind
    /// Bytes in the pack.
    package let size: UInt64
    package let checksum: ContentHash
    /// What the device says of it, signed; at most 6 KiB.
    package let statement: Data
    package let then: AfterCommit

    package init(
        epoch: Epoch, sequence: Sequence, parent: Sequence, basis: Sequence? = nil, kind: CheckpointKind, size: UInt64,
        checksum: ContentHash, statement: Data = Data(), then: AfterCommit = .keep
    ) {
        self.epoch = epoch
        self.sequence = sequence
        self.parent = parent
        self.basis = basis ?? parent
        self.kind = kind
        self.size = size
        self.checksum = checksum
        self.statement = statement
        self.then = then
    }

    /// The record of this offer by `device`, accepted at `time`.
    func accepted(from device: DeviceID, at time: Timestamp) -> CheckpointRecord {
        CheckpointRecord(
            sequence: sequence, basis: basis, epoch: epoch, device: device, kind: kind, size: size, checksum: checksum,
            statement: statement, created: time)
    }

    /// Whether `record` came from this very commit by `device`, sent before.
    func isRepetition(of record: CheckpointRecord, from device: DeviceID) -> Bool {
        record.sequence == sequence && record.checksum == checksum && record.device == device && record.epoch == epoch
    }
}
