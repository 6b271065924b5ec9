/// Something that QEMU tells unasked.
package struct QMPEvent: Sendable, Hashable {
    /// What happened. An event of a known name whose data is not as documented comes as `unknown` too.
    package enum Kind: Sendable, Hashable {
        /// The guest was paused.
        case stop
        /// The guest runs again.
        case resume
        /// The guest sleeps (ACPI S3).
        case suspend
        /// The guest woke from its sleep.
        case wakeup
        /// The guest is down. `reason` is QEMU's word, such as `guest-shutdown` or `host-signal`.
        case shutdown(guest: Bool, reason: String)
        /// The guest starts anew, by its own will or by a command.
        case reset(guest: Bool, reason: String)
        /// The power button was pressed (`system_powerdown`).
        case powerdown
        /// A migration got on. Only with the migration capability `events`.
        case migration(QMPMigrationStatus)
        /// A migration began another run over RAM, counted from 1. Only with the migration capability `events`.
        case migrationPass(Int)
        /// A disk failed. `device` may be empty for a node without one; `action` is what QEMU did: `ignore`, `report`
        /// or `stop`.
        case blockIOError(device: String, noSpace: Bool, action: String)
        /// The guest's kernel gave up. `action` is what QEMU did: `pause`, `poweroff` or `run`.
        case guestPanicked(action: String)
        /// The guest's watchdog ran out. `action` is what QEMU did.
        case watchdog(action: String)
        /// The guest moved its clock; `offset` is in seconds from the host's.
        case rtcChange(offset: Int64)
        /// A viewer came.
        case vncConnected
        /// A viewer was let in.
        case vncInitialized
        /// A viewer left.
        case vncDisconnected
        /// The guest changed a network card's receive filter; nil for a card without a name.
        case nicRxFilterChanged(name: String?)
        /// Any other event, by its name on the wire.
        case unknown(name: String)
    }

    package let kind: Kind
    /// When QEMU saw it, on the host's clock.
    package let timestamp: Timestamp
    /// 1 for the first event of the connection, then counting up; a gap in a stream tells that events were lost.
    package internal(set) var number: UInt64 = 0

    /// Time since 1970 on the host's clock; -1 in both if QEMU couldn't read it.
    package struct Timestamp: Sendable, Hashable, Decodable {
        /// Whole seconds.
        package let seconds: Int64
        /// 0…999,999 more.
        package let microseconds: Int64
    }
}
