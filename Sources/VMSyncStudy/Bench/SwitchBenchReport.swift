import VMSyncCore
#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// What `SwitchBench` found out: every move as it was measured.
package struct SwitchBenchReport: Sendable, Codable {
    package struct Link: Sendable, Codable {
        package var megabits: Int
        package var burst_kb: Int
        package var queue_ms: Int
    }

    /// One switch of ours.
    package struct Switch: Sendable, Codable {
        package var from: String
        package var to: String
        /// From the guest's last instruction on one device to its first on the other.
        package var downtime_ms: Double
        package var command_to_running_ms: Double
        /// From the command to its end.
        package var link_bytes: UInt64
        /// Before the command.
        package var syncing_bytes_per_s: Double
        package var last_pack_bytes: Int
        package var steps_ms: [String: Double]
        package var film_plays: Bool
    }

    /// One live migration of QEMU.
    package struct Migration: Sendable, Codable {
        package enum End: String, Sendable, Codable {
            case completed
            /// It was cancelled when time was up.
            case gaveUp = "did not end"
        }

        package var form: LiveMigration
        package var end: End
        /// Until it was complete, or given up.
        package var seconds: Double
        package var link_bytes: UInt64
        /// As QEMU says; nil if it did not end.
        package var downtime_ms: Double?
        /// Between QEMU's own events of the source's stop and the target's start.
        package var stood_still_ms: Double?
        package var film_plays: Bool?
        /// Whether the guest is still on the source.
        package var source_runs_on = false
    }

    package var link: Link
    package var migration_limit_s: Int
    /// Processes that wanted to run, over the last minute: at the beginning and at the end.
    package var load: [Double] = []
    package var switches: [Switch] = []
    package var migrations: [Migration] = []

    init(bench: SwitchBench) {
        link = Link(
            megabits: bench.megabits, burst_kb: ShapedLink.burstBytes(ofMegabits: Double(bench.megabits)) >> 10,
            queue_ms: ShapedLink.queueMilliseconds)
        migration_limit_s = bench.migrationLimit
        noteLoad()
    }

    mutating func noteLoad() {
        var average = 0.0
        if getloadavg(&average, 1) == 1 { load.append(average) }
    }
}
