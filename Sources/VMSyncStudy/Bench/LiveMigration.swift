import QMP

/// QEMU's own ways of moving a running guest to another QEMU.
package enum LiveMigration: String, Sendable, Codable, CaseIterable {
    /// Pass after pass over what was written meanwhile, until the rest fits into the downtime limit.
    case plain
    /// The same, with only the differences to a page that was sent before.
    case xbzrle
    /// The same, over several connections, compressed.
    case multifd = "multifd + zstd"
    /// One pass; then the guest runs on the target, and fetches what it lacks.
    case postcopy

    /// Of pages as they were sent before: half of the desktop's memory, more than a film touches.
    private static let cacheBytes: UInt64 = 512 << 20

    /// The settings for both sides; all that any of the forms sets, because a source goes from one to the next.
    var capabilities: QMPMigrateSetCapabilities {
        QMPMigrateSetCapabilities([
            "events": true, "xbzrle": self == .xbzrle, "multifd": self == .multifd,
            "postcopy-ram": self == .postcopy,
        ])
    }

    /// What isn't named here is QEMU's default, as its downtime limit of 300 ms.
    var parameters: QMPMigrateSetParameters {
        switch self {
        case .plain, .postcopy: QMPMigrateSetParameters()
        case .xbzrle: QMPMigrateSetParameters(xbzrleCacheSize: Self.cacheBytes)
        case .multifd: QMPMigrateSetParameters(multifdCompression: "zstd")
        }
    }
}
