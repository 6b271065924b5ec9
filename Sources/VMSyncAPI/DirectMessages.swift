import VMSyncCore
import VMSyncPolicy

/// How far a device is with a VM, as it tells another one directly. (docs/protocol/direct.md)
package struct DirectStanding: Sendable, Codable, Hashable {
    /// The state that it holds.
    package let held: Sequence
    /// Why the VM can't run there, if so.
    package let obstacle: Reason?

    package init(held: Sequence, obstacle: Reason?) {
        self.held = held
        self.obstacle = obstacle
    }
}

/// A pack on its way from device to device.
package struct DirectPack: Sendable, Hashable {
    package let sequence: Sequence
    /// Under which it was sealed.
    package let epoch: Epoch
    /// Units that it changes.
    package let units: Int
    package let size: UInt64

    package init(sequence: Sequence, epoch: Epoch, units: Int, size: UInt64) {
        self.sequence = sequence
        self.epoch = epoch
        self.units = units
        self.size = size
    }
}

/// What became of a grant. Without it, it isn't known.
package struct DirectVerdict: Sendable, Codable, Hashable {
    /// Milliseconds by name: what the parts of the arrival took. Nil if the VM isn't there and never will be by this grant.
    package let steps: [String: Double]?
    package let refusal: Reason?

    package init(taken steps: [String: Double]) {
        self.steps = steps
        refusal = nil
    }

    package init(refused refusal: Reason) {
        steps = nil
        self.refusal = refusal
    }
}
