import Foundation
import VMSyncCore

/// What was measured, as docs/benchmarks.md: tables, and pictures that gnuplot draws.
struct BenchDocument {
    let report: BenchReport
    /// Where the document goes; the pictures into `plots` below it.
    let folder: String

    func write() async throws {
        let plots = BenchPlots(report: report, folder: folder + "/plots")
        let drawn = try await plots.draw()
        let text = ([head] + sections(drawn)).joined(separator: "\n\n") + "\n"
        try AtomicFile.write(bytes: Array(text.utf8), to: folder + "/benchmarks.md")
    }

    private var head: String {
        """
        # Benchmarks

        Written by `make bench`. Ours and the others are measured on the same guest, in the same run; figures are medians
        unless a table says otherwise. Machines differ, and are noisy: the ratios say more than the numbers.

        | | |
        |---|---|
        \(report.machine.rows.map { "| \($0.0) | \($0.1) |" }.joined(separator: "\n"))
        """
    }

    private func sections(_ drawn: Set<BenchPlots.Plot>) -> [String] {
        var sections: [String] = []
        func add(_ title: String, _ text: String?, _ plot: BenchPlots.Plot? = nil) {
            guard let text else { return }
            let picture = plot.flatMap { drawn.contains($0) ? "\n\n![\(title)](plots/\($0.rawValue).svg)" : nil } ?? ""
            sections.append("## \(title)\n\n\(text)\(picture)")
        }
        add("Bytes per checkpoint", report.bytes?.markdown, .bytes)
        add("The pause", report.pause?.markdown, .pauses)
        add("What the guest loses", report.slowdown?.markdown)
        add("Switch and live migration", report.moves?.markdown)
        add("Suspend and resume", report.suspend?.markdown)
        add("A switch within a time", report.promise?.markdown)
        add("From device to device", report.direct?.markdown)
        add("A long history", report.history?.markdown)
        add("The codec", report.codec?.markdown, .codec)
        add("The disk", report.nbd.map { "```\n\($0.text)\n```" })
        for (part, problem) in report.problems.sorted(by: { $0.key < $1.key }) {
            sections.append("## \(part): not measured\n\n\(problem)")
        }
        return sections
    }
}

/// A Markdown table.
struct MarkdownTable {
    let head: [String]
    var rows: [[String]] = []

    var text: String {
        let line = { (cells: [String]) in "| " + cells.joined(separator: " | ") + " |" }
        return ([line(head), "|" + String(repeating: "---|", count: head.count)] + rows.map(line))
            .joined(separator: "\n")
    }
}

extension Double {
    /// With `digits` behind the point.
    func fixed(_ digits: Int) -> String { String(format: "%.\(digits)f", self) }
}
