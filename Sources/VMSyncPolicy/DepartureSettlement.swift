import VMSyncCore

/// What is done about a departure whose end this device doesn't know, after the server was asked.
package enum DepartureSettlement: Hashable, Sendable {
    /// The lease is elsewhere: what is left here is a standby.
    case stepBack
    /// The lease is elsewhere, and the guest stands here with work that is in no checkpoint: memory and disks are those of
    /// none either, so this is no standby before that work is sealed.
    case keepLateWork
    /// The last checkpoint is sealed, and may still end the tenure: it is sent again.
    case commitAgain
    /// The guest has shut down, and its disks are not sealed yet.
    case sealOff
    /// The guest goes on here.
    case goOn
    /// The same, after the server was told that the switch has failed: it is open, and there is nothing to end it with.
    case failThenGoOn(SwitchID)
}

extension Tenure.Departure {
    /// The guest goes on here only if the lease is ours *and* the commit that would move it can't come through any more:
    /// its switch has ended. While the switch is open the commit is simply sent again.
    /// - Parameters:
    ///   - holdsLease: whether the lease is this device's, under the epoch of the tenure, by what the server says now.
    ///   - lastSwitch: as the server says now.
    ///   - isSealed: whether the departure's checkpoint waits in the outbox.
    ///   - replica: the checkpoint that the replica holds.
    ///   - hasGuest: whether there is a QEMU with the guest in it.
    ///   - isShutDown: whether the guest has shut itself down; its disks are here then, also without a QEMU.
    package func settlement(
        holdsLease: Bool, lastSwitch: SwitchRecord?, isSealed: Bool, replica: Sequence, hasGuest: Bool,
        isShutDown: Bool
    ) -> DepartureSettlement {
        guard holdsLease else { return replica < sequence && (hasGuest || isShutDown) ? .keepLateWork : .stepBack }
        guard case .move(let id) = then else {
            if isSealed { return .commitAgain }
            return isShutDown ? .sealOff : .goOn
        }
        guard let lastSwitch, lastSwitch.id == id, lastSwitch.state == .ready else { return .goOn }
        if isSealed { return .commitAgain }
        return isShutDown ? .sealOff : .failThenGoOn(id)
    }
}
