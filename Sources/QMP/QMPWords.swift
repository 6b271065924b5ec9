/// A set of words in which a newer QEMU may have more than this library knows.
package protocol QMPWord: Decodable, Hashable, Sendable {
    /// The words known here, as QEMU writes them.
    static var known: [String: Self] { get }
    /// A word not known here.
    static func unknown(_ word: String) -> Self
}

extension QMPWord {
    /// Any text will do; one not among `known` becomes `unknown`.
    package init(from decoder: any Decoder) throws {
        let word = try decoder.singleValueContainer().decode(String.self)
        self = Self.known[word] ?? .unknown(word)
    }
}

/// What the guest does (`RunState` of the QMP reference).
package enum QMPRunState: QMPWord {
    case running, paused, prelaunch, suspended, shutdown, debug, watchdog
    case inMigrate, finishMigrate, postMigrate
    case saveVM, restoreVM
    case ioError, internalError, guestPanicked
    case unknown(String)

    package static let known: [String: QMPRunState] = [
        "running": .running, "paused": .paused, "prelaunch": .prelaunch, "suspended": .suspended,
        "shutdown": .shutdown, "debug": .debug, "watchdog": .watchdog,
        "inmigrate": .inMigrate, "finish-migrate": .finishMigrate, "postmigrate": .postMigrate,
        "save-vm": .saveVM, "restore-vm": .restoreVM,
        "io-error": .ioError, "internal-error": .internalError, "guest-panicked": .guestPanicked,
    ]
}

/// How far a migration is (`MigrationStatus` of the QMP reference).
package enum QMPMigrationStatus: QMPWord {
    case none, setup, active, device, completed, failed, cancelling, cancelled
    case preSwitchover, waitUnplug
    case postcopyActive, postcopyPaused, postcopyRecover
    case unknown(String)

    package static let known: [String: QMPMigrationStatus] = [
        "none": .none, "setup": .setup, "active": .active, "device": .device, "completed": .completed,
        "failed": .failed, "cancelling": .cancelling, "cancelled": .cancelled,
        "pre-switchover": .preSwitchover, "wait-unplug": .waitUnplug,
        "postcopy-active": .postcopyActive, "postcopy-paused": .postcopyPaused,
        "postcopy-recover": .postcopyRecover,
    ]

    /// Whether the migration has ended, well or not; nothing more will happen to it.
    package var isFinal: Bool {
        self == .completed || self == .failed || self == .cancelled
    }
}
