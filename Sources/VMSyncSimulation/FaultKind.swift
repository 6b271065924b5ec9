/// What goes wrong in a history, by kind. Each kind is enabled in about half of all histories, so that some are seen alone.
package enum FaultKind: Int, CaseIterable, Sendable, Codable {
    /// A request never reaches the server.
    case requestLost
    /// The server did what was asked, and its answer never comes.
    case answerLost
    /// A request reaches the server long after the device gave it up.
    case requestLate
    /// A record reaches a device twice.
    case recordRepeated
    /// A record comes after later ones.
    case recordLate
    /// A pack arrives torn.
    case packTorn
    /// A device reaches nobody for a while.
    case partitioned
    /// A device comes into another network: other delays, and its connection begins anew.
    case networkChanged
    /// The daemon dies between two turns.
    case daemonKilled
    /// The daemon dies between two of its writes.
    case daemonKilledInWrites
    /// QEMU dies.
    case machineCrashed
    /// The host loses its power, and with it memory and what was not synced.
    case powerLost
    /// QEMU can't be started.
    case launchFailed
    /// QEMU fails to save the guest's state; the guest runs on.
    case captureFailed
    /// No space is left on a device.
    case diskFull
    /// A device's clock jumps.
    case deviceClockJumped
    /// What waits names too many units to be merged.
    case mergeRefused
    /// The server dies after a pack is durable, before its transaction.
    case serverKilledBeforeTransaction
    /// The server dies after a transaction, before its answer.
    case serverKilledAfterTransaction
    /// The server is stopped for a while.
    case serverStopped
    /// The server's clock jumps.
    case serverClockJumped
    /// No space is left on the server.
    case serverFull
    /// A person takes the VM from a device that has it.
    case forced
    /// A standby takes the VM over by itself, because the server says that the holder is silent.
    case failedOver
}

extension FaultKind {
    /// Those that happen at times of their own. The others happen to messages and writes.
    static let own: [FaultKind] = [
        .partitioned, .networkChanged, .daemonKilled, .machineCrashed, .powerLost, .diskFull, .deviceClockJumped,
        .serverStopped, .serverClockJumped, .serverFull, .forced, .failedOver,
    ]
}

/// How often each kind of fault was tried.
package struct FaultCounts: Sendable, Equatable {
    private var counts = [Int](repeating: 0, count: FaultKind.allCases.count)

    package init() {}

    package subscript(kind: FaultKind) -> Int { counts[kind.rawValue] }

    mutating func note(_ kind: FaultKind) { counts[kind.rawValue] += 1 }

    package mutating func add(_ other: FaultCounts) {
        for index in counts.indices { counts[index] += other.counts[index] }
    }

    /// The kinds that were never tried.
    package var untried: [FaultKind] { FaultKind.allCases.filter { self[$0] == 0 } }
}
