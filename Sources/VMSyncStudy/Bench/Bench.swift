import VMSyncCore

/// What can be measured.
package enum BenchPart: String, Sendable, Codable, CaseIterable {
    case bytes, nbd
}

/// All measurements, one after the other.
package struct Bench: Sendable {
    package var parts = BenchPart.allCases
    package var sessions = DesktopSession.names
    package var seconds = 30
    package var seed: UInt64 = 1
    package var desktop: String?
    let say: @Sendable (String) -> Void

    package init(say: @escaping @Sendable (String) -> Void) { self.say = say }

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
            }
        }
        return report
    }
}

/// What was measured; nil what wasn't.
package struct BenchReport: Sendable, Codable {
    package var bytes: SessionBenchReport?
    package var nbd: NBDBenchReport?

    package var text: String { [bytes?.text, nbd?.text].compactMap { $0 }.joined(separator: "\n\n") }
}
