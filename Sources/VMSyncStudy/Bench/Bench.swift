import VMSyncCore

/// What can be measured.
package enum BenchPart: String, Sendable, Codable, CaseIterable {
    /// The pauses come first: the memory that is measured with them is that of a process which has done nothing else.
    case pause, bytes, slowdown, codec, nbd
    /// Beside QEMU's live migration; needs root.
    case moves = "switch"
    /// Beside the SyncOS paper's estimate; needs root.
    case suspend
    /// A history of a thousand checkpoints.
    case history
    /// Whether `switch-within` keeps what it promises; needs root.
    case promise
    /// Switches from device to device behind a slow line; needs root.
    case direct
}

/// All measurements, one after the other.
package struct Bench: Sendable {
    package var parts = BenchPart.allCases
    /// Nil: those that each part has.
    package var sessions: [String]?
    package var seconds = 30
    package var seed: UInt64 = 1
    package var desktop: String?
    /// Pauses that are measured per session of the part "pause".
    package var checkpoints = 120
    /// Per link and promise.
    package var switches = 20
    /// The `vmsync` that devices and servers are started with.
    let program: String
    let say: @Sendable (String) -> Void

    package init(program: String, say: @escaping @Sendable (String) -> Void) {
        self.program = program
        self.say = say
    }

    private var guest: DesktopGuest { get throws(VMSyncError) { try DesktopGuest(folder: desktop) } }
    private var small: SmallGuest { get throws(VMSyncError) { try SmallGuest() } }

    /// Measures part by part. One that fails is told in the report, and the others go on.
    /// - Parameter each: is given what is known after each part.
    package func run(each: (BenchReport) async throws -> Void = { _ in }) async throws -> BenchReport {
        var report = BenchReport(machine: try await BenchHost.here())
        for part in BenchPart.allCases where parts.contains(part) {
            do {
                try await measure(part, into: &report)
            } catch {
                try Task.checkCancellation()
                report.problems[part.rawValue] = VMSyncError(error).message
                say("\(part.rawValue): \(VMSyncError(error).message)")
            }
            try await each(report)
        }
        return report
    }

    /// Writes benchmarks.md and its pictures into `folder`.
    package static func write(_ report: BenchReport, to folder: String) async throws {
        try await BenchDocument(report: report, folder: folder).write()
    }

    private func measure(_ part: BenchPart, into report: inout BenchReport) async throws {
        switch part {
        case .bytes:
            var bench = SessionBench(guest: try guest, say: say)
            bench.sessions = sessions ?? bench.sessions
            bench.seconds = seconds
            bench.seed = seed
            report.bytes = try await bench.run()
        case .pause:
            var bench = PauseBench(guest: try guest, say: say)
            bench.checkpoints = checkpoints
            report.pause = try await bench.run()
        case .slowdown: report.slowdown = try await SlowdownBench(guest: try guest, say: say).run()
        case .codec: report.codec = try await CodecBench(guest: try guest, say: say).run()
        case .nbd: report.nbd = try await NBDBench(say: say).run()
        case .moves: report.moves = try await SwitchBench(guest: try guest, say: say).run(program: program)
        case .suspend:
            report.suspend = try await SuspendBench(
                guests: [
                    ("small guest", try small, SuspendBench.waitForNothing),
                    ("desktop", try guest.guest, SuspendBench.waitForDesktop),
                ], say: say
            ).run(program: program)
        case .history: report.history = try await HistoryBench(guest: try small, say: say).run(program: program)
        case .promise:
            var bench = PromiseBench(guest: try guest, say: say)
            bench.sessions = sessions ?? bench.sessions
            bench.switches = switches
            bench.seed = seed
            report.promise = try await bench.run(program: program)
        case .direct:
            var bench = DirectBench(guest: try guest, say: say)
            bench.switches = switches
            bench.seed = seed
            report.direct = try await bench.run(program: program)
        }
    }
}

/// What was measured; nil what wasn't.
package struct BenchReport: Sendable, Codable {
    package var machine: BenchHost
    package var bytes: SessionBenchReport?
    package var pause: PauseBenchReport?
    package var slowdown: SlowdownBenchReport?
    package var codec: CodecBenchReport?
    package var nbd: NBDBenchReport?
    package var moves: SwitchBenchReport?
    package var suspend: SuspendBenchReport?
    package var history: HistoryBenchReport?
    package var promise: PromiseBenchReport?
    package var direct: DirectBenchReport?
    /// By part: why it couldn't be measured.
    package var problems: [String: String] = [:]

    /// Whether everything that was to be measured was, and every session happened.
    package var isWhole: Bool {
        let sessions = (bytes?.sessions ?? []).filter(\.problems.isEmpty).map(\.name)
        return problems.isEmpty && (bytes?.sessions ?? []).allSatisfy { sessions.contains($0.name) }
            && (pause?.sessions ?? []).allSatisfy(\.problems.isEmpty)
    }

    /// For a person at a terminal.
    package var text: String {
        [
            bytes?.markdown, pause?.markdown, slowdown?.markdown, codec?.markdown, nbd?.text, moves?.markdown,
            suspend?.markdown, history?.markdown, promise?.markdown, direct?.markdown,
        ].compactMap(\.self).joined(separator: "\n\n")
    }

    init(machine: BenchHost) { self.machine = machine }
}
