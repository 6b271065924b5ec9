import VMSyncCore

/// What a QEMU does that an earlier daemon has left.
package enum FoundMachine: Hashable, Sendable, CaseIterable {
    /// Waits for device state.
    case waiting
    case running
    /// Stopped when its state was saved.
    case saved
    /// Stopped for another reason, such as an error of its disk.
    case paused
    case shutDown
}

/// What a restarted daemon does about the VM that it finds, or finds gone.
package enum Adoption: Hashable, Sendable {
    /// Nothing ran here, or all of it is sealed.
    case nothing
    /// It only waited for device state, and a fresh QEMU is ready sooner than this one is understood.
    case end
    /// The daemon died before the device state was in: the guest has not run here, and begins again from the head.
    case endAndForget
    /// The VM went on elsewhere: the guest stands still.
    case standStill
    /// The guest runs on.
    case letRun
    /// The guest stands still until the server has said who may run it.
    case hold
    /// The guest has shut down, and its disks are to be saved.
    case shutDown
    /// QEMU is gone, and what the guest did since its last checkpoint with it.
    case lost
}

extension Adoption {
    /// Whether the QEMU that was found stays.
    package var keepsMachine: Bool {
        switch self {
        case .standStill, .letRun, .hold, .shutDown: true
        case .nothing, .end, .endAndForget, .lost: false
        }
    }

    /// - Parameters:
    ///   - tenure: nil if the guest has not run here.
    ///   - found: nil if no QEMU is left.
    ///   - replica: the checkpoint that the replica holds.
    package init(tenure: Tenure?, found: FoundMachine?, replica: Sequence) {
        guard let tenure else {
            self = found == nil ? .nothing : .end
            return
        }
        guard let found else {
            self = Self.missing(tenure.departure, replica: replica)
            return
        }
        let isShutDown = found == .shutDown || found == .saved && tenure.departure?.kind == .off
        switch found {
        case .waiting: self = .endAndForget
        case _ where tenure.isDiverged ?? false: self = .standStill
        case _ where isShutDown: self = .shutDown
        default: self = tenure.departure == nil ? .letRun : .hold
        }
    }

    /// Nothing is lost with the QEMU of a tenure if the last checkpoint was sealed, or if the guest had shut down before and
    /// its disks are still here: a replica that began again after a power loss has none of them.
    private static func missing(_ departure: Tenure.Departure?, replica: Sequence) -> Adoption {
        guard let departure else { return .lost }
        if replica >= departure.sequence { return .nothing }
        return departure.kind == .off && replica.next == departure.sequence ? .shutDown : .lost
    }
}
