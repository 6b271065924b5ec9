import VMSyncAPI
import VMSyncCore

/// What `vmsync demo` found out; its JSON is the last line that `vmsync demo --json` prints.
package struct DemoReport: Sendable, Codable {
    package struct Move: Sendable, Codable {
        package var from: String
        package var to: String
        package var downtime_ms: Double
        package var total_ms: Double
        package var last_pack_bytes: Int
        package var steps_ms: [String: Double]
    }

    package struct Pauses: Sendable, Codable {
        package var p50: Double
        package var p99: Double
        package var count: Int
    }

    package struct Packs: Sendable, Codable {
        package var p50: Int
        package var max: Int
    }

    package struct Guest: Sendable, Codable {
        package var nonce_kept: Bool
        package var counter_gaps: Int
        package var fsync_lost: Int
        package var fsck_clean: Bool
    }

    package var switches: [Move]
    package var pauses_ms: Pauses
    package var pack_bytes: Packs
    package var guest: Guest
    package var digests_equal: Bool
    package var ok: Bool

    init(moves: [Move], metrics: [CheckpointMetrics], witness: Witness, disk: DiskCheck, digestsEqual: Bool) {
        switches = moves
        let pauses = metrics.map(\.pauseMilliseconds).sorted()
        pauses_ms = Pauses(p50: pauses.percentile(50) ?? 0, p99: pauses.percentile(99) ?? 0, count: pauses.count)
        let packs = metrics.map(\.packBytes).sorted()
        pack_bytes = Packs(p50: packs.percentile(50) ?? 0, max: packs.last ?? 0)
        let lost = witness.synced.subtracting(disk.logged)
        guest = Guest(
            nonce_kept: witness.nonces.count == 1, counter_gaps: witness.gaps, fsync_lost: lost.count,
            fsck_clean: disk.isClean)
        digests_equal = digestsEqual
        ok = guest.nonce_kept && guest.counter_gaps == 0 && guest.fsync_lost == 0 && guest.fsck_clean && digestsEqual
    }
}

extension Array where Element: Comparable {
    /// The `percent`-th percentile of a sorted array, by nearest rank.
    package func percentile(_ percent: Int) -> Element? {
        isEmpty ? nil : self[Swift.min(count - 1, Swift.max(0, (count * percent + 99) / 100 - 1))]
    }
}
