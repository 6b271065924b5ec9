import Foundation
import VMSyncCore

extension SwitchBenchReport {
    /// As a table in Markdown.
    package var markdown: String {
        let head = [
            "| | moves | without the guest, ms: median, 90th percentile, longest | from the command until it is over, s "
                + "| over the link |",
            "|---|---|---|---|---|",
        ]
        let rows = (switches.isEmpty ? [] : [ours]) + migrations.map(\.row)
        let note = "Link: \(link.megabits) Mbit/s each way. A live migration is given up after \(migration_limit_s) s."
        return (head + rows + ["", note] + problems).joined(separator: "\n")
    }

    private var ours: String {
        let downtimes = switches.map(\.downtime_ms)
        let totals = switches.map { $0.command_to_running_ms / 1000 }
        let bytes = switches.map { Double($0.link_bytes) }.sorted().percentile(50) ?? 0
        let syncing = switches.map(\.syncing_bytes_per_s).sorted().percentile(50) ?? 0
        let times = "\(Self.three(downtimes, digits: 0)) | \(Self.three(totals, digits: 2))"
        return "| vmsync switch | \(switches.count) | \(times) "
            + "| \(ByteCount(Int(bytes))), and \(ByteCount(Int(syncing))) a second before |"
    }

    /// Median, 90th percentile and the largest.
    private static func three(_ values: [Double], digits: Int) -> String {
        let sorted = values.sorted()
        let found = [sorted.percentile(50), sorted.percentile(90), sorted.last].compactMap { $0 }
        return found.map { String(format: "%.\(digits)f", $0) }.joined(separator: ", ")
    }

    /// What shows that a move did not happen as it should; empty if all did.
    package var problems: [String] {
        let ours = switches.indices.filter { !switches[$0].film_plays }
        let theirs = migrations.filter { $0.film_plays == false }
        return ours.map { "the film stood still after switch \($0 + 1)" }
            + theirs.map { "the film stood still after QEMU's migration (\($0.form.rawValue))" }
    }
}

extension SwitchBenchReport.Switch {
    /// For a person who watches.
    var text: String {
        let steps = steps_ms.sorted { $0.value > $1.value }.prefix(5)
        return String(format: "%.0f ms without the guest, %.0f ms in all, ", downtime_ms, command_to_running_ms)
            + "\(ByteCount(link_bytes)) over the link, last pack \(ByteCount(last_pack_bytes))"
            + " (\(steps.map { "\($0.key) \(Int($0.value))" }.joined(separator: ", ")))"
            + (film_plays ? "" : "; THE FILM STANDS STILL")
    }
}

extension SwitchBenchReport.Migration {
    var row: String {
        let moves = end == .completed ? "1" : "–"
        return "| QEMU, \(form.rawValue) | \(moves) | \(downtime) | \(duration) | \(ByteCount(link_bytes)) |"
    }

    private var downtime: String {
        guard let downtime_ms, let stood_still_ms else { return "–" }
        return String(format: "%.0f (QEMU says %.0f)", stood_still_ms, downtime_ms)
    }

    private var duration: String {
        end == .completed ? String(format: "%.1f", seconds) : "\(end.rawValue) in \(Int(seconds))"
    }

    var text: String {
        "\(duration) s, \(ByteCount(link_bytes)) over the link, \(downtime) ms without the guest"
            + (film_plays == false ? "; THE FILM STANDS STILL" : "")
    }
}
