import Foundation
import VMSyncCore

/// A place in a VM's chain of statements.
package struct ChainPoint: Sendable, Hashable, Codable {
    package let sequence: Sequence
    /// Of the statement and its signature.
    package let hash: ContentHash

    package init(sequence: Sequence, hash: ContentHash) {
        self.sequence = sequence
        self.hash = hash
    }
}

/// What a device says of a checkpoint that it has made; other devices believe nothing else of it.
/// (docs/protocol/trust.md, "The chain of checkpoints")
package struct Statement: SignedContent {
    package static let purpose = "statement"
    package static let knownVersion = 1

    /// What becomes of the right to run the VM.
    package enum Then: Sendable, Hashable, Codable {
        case keep
        case release
        case move(to: DeviceID)
    }

    package var version = Self.knownVersion
    package var vm: VMID
    package var device: DeviceID
    package var sequence: Sequence
    /// The one before; nil for the first of a VM.
    package var parent: ChainPoint?
    /// What the pack is relative to, where that isn't the parent: the VM went back.
    package var basis: Sequence?
    package var epoch: Epoch
    /// Whether this device took the VM over without the word of the one before, because a person has said so.
    package var isForced = false
    /// The word of a device that had been given the VM after the parent and did not run it.
    package var release: Signed<Release>?
    /// Whether the VM was shut off.
    package var isOff: Bool
    /// Bytes of the encrypted pack.
    package var size: UInt64
    /// SHA-256 of the encrypted pack.
    package var checksum: ContentHash
    /// The keyed digest of the state.
    package var digest: Data
    package var then: Then

    package init(
        vm: VMID, device: DeviceID, sequence: Sequence, parent: ChainPoint?, basis: Sequence? = nil, epoch: Epoch,
        isForced: Bool = false,
        release: Signed<Release>? = nil, isOff: Bool, size: UInt64, checksum: ContentHash, digest: Data, then: Then
    ) {
        self.vm = vm
        self.device = device
        self.sequence = sequence
        self.parent = parent
        self.basis = basis
        self.epoch = epoch
        self.isForced = isForced
        self.release = release
        self.isOff = isOff
        self.size = size
        self.checksum = checksum
        self.digest = digest
        self.then = then
    }
}

/// What a device says that was given a VM and did not run it, or hands it over without the server: somebody else may have it.
package struct Release: SignedContent {
    package static let purpose = "release"
    package static let knownVersion = 1

    package var version = Self.knownVersion
    package var vm: VMID
    package var device: DeviceID
    /// The statement that gave it the VM, or the last one of its tenure.
    package var after: ChainPoint

    package init(vm: VMID, device: DeviceID, after: ChainPoint) {
        self.vm = vm
        self.device = device
        self.after = after
    }
}
