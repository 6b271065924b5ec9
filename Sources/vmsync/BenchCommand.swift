import ArgumentParser
import Foundation
import VMSyncCore
import VMSyncStudy

struct BenchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Measure bytes, pauses and speed, each beside what people use today.",
        discussion: """
            Every part measures ours and the others on the same guest, in the same run. Parts: \
            \(BenchPart.allCases.map(\.rawValue).joined(separator: ", ")).

              vmsync bench --part bytes --session video --seconds 20 --json
            """)

    @Flag(help: "End with one JSON object on one line.") var json = false
    @Option(name: .customLong("part"), help: "A part to measure; may be given again. (default: all)")
    var parts: [BenchPart] = []
    @Option(
        name: .customLong("session"),
        help: "A session of the desktop, for \"bytes\" and \"promise\"; may be given again. (default: all)")
    var sessions: [String] = []
    @Option(help: "Length of each session of the part \"bytes\".") var seconds = 30
    @Option(help: "Pauses per session of the part \"pause\".") var checkpoints = 120
    @Option(help: "Switches per link and promise of the part \"promise\", and per way of the part \"direct\".")
    var switches = 20
    @Option(help: "What the sessions are drawn from.") var seed: UInt64 = 1
    @Option(help: "Folder of the desktop guest. (default: $VMSYNC_GUESTS/desktop)") var desktop: String?

    @Option(help: "Write benchmarks.md and its pictures into this folder.") var write: String?

    func validate() throws {
        guard (6...3600).contains(seconds) else { throw ValidationError("--seconds takes 6 to 3600") }
        guard (1...100_000).contains(checkpoints) else { throw ValidationError("--checkpoints takes 1 to 100000") }
        guard (1...10_000).contains(switches) else { throw ValidationError("--switches takes 1 to 10000") }
        for session in sessions where !DesktopSession.names.contains(session) {
            throw ValidationError(
                "there is no session \"\(session)\": use \(DesktopSession.names.joined(separator: ", "))")
        }
    }

    func run() async throws {
        let start = ContinuousClock.now
        let json = json
        let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        var bench = Bench(program: program) { text in
            let line = String(format: "%6.1f s  ", (ContinuousClock.now - start).seconds) + text
            if json { FileHandle.standardError.write(Data((line + "\n").utf8)) } else { Output.line(line) }
        }
        bench.desktop = desktop
        if !parts.isEmpty { bench.parts = parts }
        if !sessions.isEmpty { bench.sessions = sessions }
        bench.seconds = seconds
        bench.seed = seed
        bench.checkpoints = checkpoints
        bench.switches = switches
        let measured = bench
        let folder = write
        let report = try await cancelledBySignals {
            try await measured.run { report in
                if let folder { try await Bench.write(report, to: folder) }
            }
        }
        if json { try Output.json(report) } else { Output.line(report.text) }
        if !report.isWhole { throw ExitCode(1) }
    }
}

extension BenchPart: ExpressibleByArgument {}
