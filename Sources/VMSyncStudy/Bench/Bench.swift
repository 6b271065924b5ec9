import VMSyncCore

/// What can be measured.
package enum BenchPart: String, Sendable, Codable, CaseIterable {
    case bytes, nbd
    /// Beside QEMU's live migration; needs root.
    case moves = "switch"
}

/// All measurements, one after the other.
package struct Bench: Sendable {
    package var parts = BenchPart.allCases
    package var sessions = DesktopSession.names
    package var seconds = 30
    package var seed: UInt64 = 1
    package var desktop: String?
    /// The `vmsync` that devices and servers are started with.
    let program: String
    let say: @Sendable (String) -> Void

    package init(program: String, say: @escaping @Sendable (String) -> Void) {
        self.program = program
        self.say = say
    }

    package func run() async throws -> BenchReport {
        var report = BenchReport()
        for part in BenchPart.allCases where parts.contains(part) {
            switch part {
            case .bytes:
                var bench = SessionBench(guest: try DesktopGuest(folder: desktop), say: say)
                bench.sessions = sessions
                bench.seconds = seconds
                bench.seed = seed
                report.bytes = try await bench.run()
            case .nbd: report.nbd = try await NBDBench(say: say).run()
            case .moves:
                let bench = SwitchBench(guest: try DesktopGuest(folder: desktop), say: say)
                report.moves = try await bench.run(program: program)
            }
        }
        return report
    }
}

/// What was measured; nil what wasn't.
package struct BenchReport: Sendable, Codable {
    package var bytes: SessionBenchReport?
    package var nbd: NBDBenchReport?
    package var moves: SwitchBenchReport?

    package var text: String { [bytes?.text, nbd?.text, moves?.markdown].compactMap { $0 }.joined(separator: "\n\n") }
}
