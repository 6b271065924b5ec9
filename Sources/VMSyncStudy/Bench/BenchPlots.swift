import Foundation
import VMSyncCore
import VMSyncMachine

/// The pictures of docs/benchmarks.md, drawn by gnuplot.
struct BenchPlots {
    enum Plot: String, CaseIterable {
        case bytes, pauses, codec
    }

    let report: BenchReport
    let folder: String

    /// Draws what was measured.
    func draw() async throws -> Set<Plot> {
        try AtomicFile.makeFolder(folder)
        var drawn: Set<Plot> = []
        for plot in Plot.allCases {
            guard let script = script(plot) else { continue }
            let file = "\(folder)/\(plot.rawValue).gnuplot"
            let whole = """
                set terminal svg size 900,420 font "sans-serif,12" background rgb "white"
                set output "\(folder)/\(plot.rawValue).svg"
                set style fill solid 0.8
                set grid ytics
                \(script)
                """
            try AtomicFile.write(bytes: Array(whole.utf8), to: file)
            defer { AtomicFile.remove(file) }
            try await QEMUTool.run("gnuplot", [file], package: "gnuplot-nox")
            drawn.insert(plot)
        }
        return drawn
    }

    private func script(_ plot: Plot) -> String? {
        switch plot {
        case .bytes: report.bytes.map(bytes)
        case .pauses: report.pause.map(pauses)
        case .codec: report.codec.map(codec)
        }
    }

    private func bytes(_ report: SessionBenchReport) -> String {
        let rows = report.sessions.filter(\.problems.isEmpty).map { session in
            let total = session.policyTotal
            let sums = [
                session.oursTotal, total.changed_since_previous, total.dirty_since_previous, total.zstd,
            ].map { "\(max($0, 1))" }
            return "\"\(session.name)\" \(sums.joined(separator: " "))"
        }
        return """
            $data << END
            \(rows.joined(separator: "\n"))
            END
            set title "Bytes of a session"
            set style data histogram
            set style histogram clustered gap 1
            set logscale y
            set format y "%.0s %cB"
            set key top left
            set xtics rotate by -30
            plot $data using 2:xtic(1) title "ours", "" using 3 title "changed bytes", "" using 4 title "dirty", \\
                 "" using 5 title "zstd -3 of dirty"
            """
    }

    /// How many pauses were no longer than so many milliseconds.
    private func pauses(_ report: PauseBenchReport) -> String {
        let blocks = report.sessions.map { session in
            let sorted = session.pauses.sorted()
            let points = sorted.enumerated().map { "\($1) \(Double($0 + 1) / Double(sorted.count))" }
            return "$\(name(session.name)) << END\n\(points.joined(separator: "\n"))\nEND"
        }
        let lines = report.sessions.map { "$\(name($0.name)) using 1:2 with steps lw 2 title \"\($0.name)\"" }
        return """
            \(blocks.joined(separator: "\n"))
            set title "Pauses of the guest"
            set xlabel "ms"
            set ylabel "part of all pauses"
            set xrange [0:*]
            set key bottom right
            set arrow from 16.7, graph 0 to 16.7, graph 1 nohead dashtype 2
            set label "one frame at 60 Hz" at 16.9, graph 0.1
            plot \(lines.joined(separator: ", "))
            """
    }

    private func name(_ session: String) -> String { session.replacing("-", with: "_") }

    private func codec(_ report: CodecBenchReport) -> String {
        let rows =
            CodecStep.allCases.map { "\"\($0.rawValue)\" \(report.median($0.rawValue))" } + [
                "\"checkpoints, sealed\" \(report.medianSealing)"
            ]
        return """
            $data << END
            \(rows.joined(separator: "\n"))
            END
            set title "One core"
            set logscale y
            set ylabel "MB/s"
            set boxwidth 0.6
            set xtics rotate by -20
            plot $data using 0:2:xtic(1) with boxes notitle
            """
    }
}
