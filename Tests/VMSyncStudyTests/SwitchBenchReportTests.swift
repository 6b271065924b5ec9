import Foundation
import Testing
import VMSyncStudy

@Suite("The report of the switches beside QEMU's live migration")
struct SwitchBenchReportTests {
    /// Three switches and two migrations, one of which ended.
    private static let json = """
        {"link": {"megabits": 100, "burst_kb": 32, "queue_ms": 50}, "migration_limit_s": 90, "load": [0.5, 2.5],
         "switches": [
          {"from": "near", "to": "far", "downtime_ms": 90.4, "command_to_running_ms": 400, "link_bytes": 2000000,
           "syncing_bytes_per_s": 1000000, "last_pack_bytes": 400000, "steps_ms": {"send": 60}, "film_plays": true},
          {"from": "far", "to": "near", "downtime_ms": 70, "command_to_running_ms": 300, "link_bytes": 1000000,
           "syncing_bytes_per_s": 3000000, "last_pack_bytes": 300000, "steps_ms": {"send": 40}, "film_plays": true},
          {"from": "near", "to": "far", "downtime_ms": 80, "command_to_running_ms": 500, "link_bytes": 3000000,
           "syncing_bytes_per_s": 2000000, "last_pack_bytes": 350000, "steps_ms": {"send": 50}, "film_plays": false}],
         "migrations": [
          {"form": "plain", "end": "did not end", "seconds": 90.2, "link_bytes": 1100000000, "source_runs_on": true},
          {"form": "postcopy", "end": "completed", "seconds": 61.25, "link_bytes": 800000000, "downtime_ms": 31,
           "stood_still_ms": 112.6, "film_plays": true, "source_runs_on": false}]}
        """

    private func report() throws -> SwitchBenchReport {
        try JSONDecoder().decode(SwitchBenchReport.self, from: Data(Self.json.utf8))
    }

    @Test("the table has a row for all switches, and one for each migration")
    func table() throws {
        let rows = try report().markdown.split(separator: "\n").map(String.init)
        #expect(
            rows.contains("| vmsync switch | 3 | 80, 90, 90 | 0.40, 0.50, 0.50 | 2.0 MB, and 2.0 MB a second before |"))
        #expect(rows.contains("| QEMU, plain | – | – | did not end in 90 | 1.1 GB |"))
        #expect(rows.contains("| QEMU, postcopy | 1 | 113 (QEMU says 31) | 61.2 | 800 MB |"))
    }

    @Test("a film that stands still after a move is a problem")
    func problems() throws {
        #expect(try report().problems == ["the film stood still after switch 3"])
    }

    @Test("what is measured is kept as it was")
    func roundTrip() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let first = try encoder.encode(try report())
        #expect(try encoder.encode(JSONDecoder().decode(SwitchBenchReport.self, from: first)) == first)
    }
}
