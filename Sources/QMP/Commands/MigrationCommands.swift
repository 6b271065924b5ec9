/// Switches migration capabilities on or off; those not named stay as they are.
package struct QMPMigrateSetCapabilities: QMPCommand {
    package static let name = "migrate-set-capabilities"
    private let capabilities: [QMPMigrationCapability]

    package init(_ states: [String: Bool]) {
        capabilities = states.map { QMPMigrationCapability(name: $0.key, isOn: $0.value) }
    }
}

/// Asks for all migration capabilities of this QEMU and whether they are on.
package struct QMPQueryMigrateCapabilities: QMPCommand {
    package static let name = "query-migrate-capabilities"
    package typealias Response = [QMPMigrationCapability]
    package init() {}
}

/// A migration capability, such as `events` or `x-ignore-shared`.
package struct QMPMigrationCapability: Codable, Sendable, Hashable {
    /// QEMU's name of it.
    package let name: String
    package let isOn: Bool

    private enum CodingKeys: String, CodingKey {
        case name = "capability"
        case isOn = "state"
    }
}

/// Sets migration parameters; nil leaves one as it is.
package struct QMPMigrateSetParameters: QMPCommand {
    package static let name = "migrate-set-parameters"
    private let maxBandwidth: UInt64?
    private let downtimeLimit: UInt64?
    private let xbzrleCacheSize: UInt64?
    private let multifdCompression: String?

    /// - Parameters:
    ///   - maxBandwidth: most to send, in bytes per second.
    ///   - downtimeLimit: longest pause at the end, in milliseconds.
    ///   - xbzrleCacheSize: of pages as they were sent before, in bytes; a power of two.
    ///   - multifdCompression: of the capability `multifd`: `none`, `zlib` or `zstd`.
    package init(
        maxBandwidth: UInt64? = nil, downtimeLimit: UInt64? = nil, xbzrleCacheSize: UInt64? = nil,
        multifdCompression: String? = nil
    ) {
        self.maxBandwidth = maxBandwidth
        self.downtimeLimit = downtimeLimit
        self.xbzrleCacheSize = xbzrleCacheSize
        self.multifdCompression = multifdCompression
    }

    private enum CodingKeys: String, CodingKey {
        case maxBandwidth = "max-bandwidth"
        case downtimeLimit = "downtime-limit"
        case xbzrleCacheSize = "xbzrle-cache-size"
        case multifdCompression = "multifd-compression"
    }
}

/// Begins to send the guest's state to `uri` (`unix:PATH`, `tcp:HOST:PORT`, `exec:COMMAND`, `fd:NAME`).
///
/// Answered when it has begun; the rest comes as `migration` events if the capability `events` is on, else ask
/// `QMPQueryMigrate`.
package struct QMPMigrate: QMPCommand {
    package static let name = "migrate"
    private let uri: String
    package init(uri: String) { self.uri = uri }
}

/// Lets the guest run on the other side from now on, which asks for the pages that it hasn't yet. Only during a migration
/// with the capability `postcopy-ram` on both sides; there is no way back.
package struct QMPMigrateStartPostcopy: QMPCommand {
    package static let name = "migrate-start-postcopy"
    package init() {}
}

/// Gives up the outgoing migration; the guest runs on. Does nothing if there is none.
package struct QMPMigrateCancel: QMPCommand {
    package static let name = "migrate_cancel"
    package init() {}
}

/// Listens at `uri` for the state of a guest; only in a QEMU started with `-incoming defer`.
package struct QMPMigrateIncoming: QMPCommand {
    package static let name = "migrate-incoming"
    private let uri: String
    package init(uri: String) { self.uri = uri }
}

/// Asks how far the last migration is.
package struct QMPQueryMigrate: QMPCommand {
    package static let name = "query-migrate"
    package init() {}

    package struct Response: Decodable, Sendable {
        /// nil if there was no migration yet.
        package let status: QMPMigrationStatus?
        /// Why it failed, in QEMU's words.
        package let errorDescription: String?
        /// nil before the transfer began.
        package let ram: RAM?
        /// Milliseconds since it began; at its end, that it took. nil before.
        package let totalTime: UInt64?
        /// Milliseconds for which the guest stood still, as the source sees it; nil before the end.
        package let downtime: UInt64?

        private enum CodingKeys: String, CodingKey {
            case status, ram, downtime
            case errorDescription = "error-desc"
            case totalTime = "total-time"
        }
    }

    /// What became of the guest's RAM, in bytes.
    package struct RAM: Decodable, Sendable {
        /// All that the guest has.
        package let total: UInt64
        /// What went over the wire so far.
        package let transferred: UInt64
        /// What is still to be sent, as far as is known.
        package let remaining: UInt64
        /// Passes over the memory that were begun.
        package let passes: UInt64

        private enum CodingKeys: String, CodingKey {
            case total, transferred, remaining
            case passes = "dirty-sync-count"
        }
    }
}
