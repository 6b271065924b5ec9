import VMSyncCore
import VMSyncReplica

/// How long the guest stands still, and what a checkpoint takes from the host, with nothing else going on.
package struct PauseBench: Sendable {
    package var guest: DesktopGuest
    package var sessions = ["idle", "video"]
    /// Per session; the 99th percentile needs a hundred.
    package var checkpoints = 120
    package var seed: UInt64 = 1
    let say: @Sendable (String) -> Void

    package init(guest: DesktopGuest, say: @escaping @Sendable (String) -> Void) {
        self.guest = guest
        self.say = say
    }

    package func run() async throws -> PauseBenchReport {
        try await BenchDesk.with(guest, say: say) { desk in
            var report = PauseBenchReport(memory: desk.machine.definition.memory)
            try await desk.machine.settle()
            for name in sessions {
                say("\(name): \(checkpoints) pauses")
                var session = try DesktopSession.named(name, seed: seed, packages: guest.packages)
                try await session.prepare(on: desk.desk)
                _ = try await desk.machine.checkpoint()
                let runner = SessionRunner(session)
                let before = ProcessorTime.ofThisProcess
                let series = try await CheckpointSeries.make(of: desk.machine, every: .seconds(1)) { [checkpoints] in
                    try await runner.run(on: desk.desk, for: .seconds(checkpoints))
                }
                let processor = ProcessorTime.ofThisProcess - before
                // Before the session is checked, which takes pictures of the screen.
                let memory = try HostMemory.ofThisProcess(without: desk.machine.paths.ram)
                let verdict = try await runner.check(on: desk.desk)
                report.sessions.append(
                    PauseBenchReport.Session(
                        name: name, problems: verdict.problems, pauses: series.figures.map(\.pause.length),
                        pause_ms: series.pauses.whole, parts_ms: series.pauses.parts,
                        pack_bytes: Spread(series.packs.map(Double.init)),
                        encode_s: series.processorSeconds,
                        process_s: processor / Double(max(1, series.figures.count)),
                        memory_beyond_guest: memory))
            }
            return report
        }
    }
}

/// What `PauseBench` found out.
package struct PauseBenchReport: Sendable, Codable {
    package struct Session: Sendable, Codable {
        package var name: String
        package var problems: [String]
        /// Each pause, in milliseconds.
        package var pauses: [Double]
        package var pause_ms: Spread
        package var parts_ms: [String: Spread]
        package var pack_bytes: Spread
        /// Processor seconds per checkpoint: of the thread that takes out and encodes, and of the whole process, which
        /// also serves the guest's disk and plays the session.
        package var encode_s: Double
        package var process_s: Double
        /// Bytes of this process in memory, without the guest's RAM.
        package var memory_beyond_guest: Int
    }

    /// Of the guest, in bytes.
    package var memory: UInt64
    package var sessions: [Session] = []

    init(memory: UInt64) { self.memory = memory }

    /// What the host may hold beyond the guest's memory: a tenth of it and 64 MB.
    package var memoryAllowed: Int { Int(memory / 10) + 64_000_000 }
}
