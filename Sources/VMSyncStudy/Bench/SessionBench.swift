import VMSyncCore

/// How many bytes leave the device while a person works: our packs beside what other means would send of the very same
/// checkpoints.
package struct SessionBench: Sendable {
    package var guest: DesktopGuest
    package var sessions = DesktopSession.names
    package var seed: UInt64 = 1
    /// Length of each session; one task that takes longer is finished.
    package var seconds = 30
    /// Between two checkpoints.
    package var interval = Duration.seconds(1)
    /// Called with what is being done.
    let say: @Sendable (String) -> Void

    package init(guest: DesktopGuest, say: @escaping @Sendable (String) -> Void) {
        self.guest = guest
        self.say = say
    }

    package func run() async throws -> SessionBenchReport {
        try await BenchDesk.with(guest, say: say) { desk in
            var report = SessionBenchReport(interval_s: interval.seconds, seconds: seconds)
            let account = try await desk.machine.makeAccount(folder: desk.folder)
            try await desk.machine.settle(account)
            for name in sessions {
                // A busy host may let a session fail: then it is done once more, and the report says so.
                for attempt in 0..<2 {
                    let figures = try await tolerantly(name, seed: seed + UInt64(attempt), desk, account)
                    report.sessions.append(figures)
                    if figures.problems.isEmpty { break }
                }
            }
            return report
        }
    }

    /// A session that breaks off is one that did not happen.
    private func tolerantly(
        _ name: String, seed: UInt64, _ place: BenchDesk, _ account: SessionAccount
    ) async throws -> SessionBenchReport.Session {
        do {
            return try await measure(name, seed: seed, place, account)
        } catch let error as VMSyncError where error.code == .timeout {
            account.end()
            say("\(name): \(error.message)")
            let verdict = SessionVerdict(session: name, seed: seed, problems: [error.message], observations: [:])
            return SessionBenchReport.Session(name, seed, CheckpointSeries(), [], [], verdict)
        }
    }

    private func measure(
        _ name: String, seed: UInt64, _ place: BenchDesk, _ account: SessionAccount
    ) async throws -> SessionBenchReport.Session {
        say("\(name): preparing")
        let (machine, desk) = (place.machine, place.desk)
        var session = try DesktopSession.named(name, seed: seed, packages: guest.packages)
        try await session.prepare(on: desk)
        _ = try await machine.checkpoint(account)
        say("\(name): \(seconds) s of work, a checkpoint every \(interval)")
        account.begin(sampled: [seconds / 6, seconds / 2, seconds * 5 / 6], imaged: seconds / 2)
        let runner = SessionRunner(session)
        let series = try await CheckpointSeries.make(of: machine, every: interval, account) { [seconds] in
            try await runner.run(on: desk, for: .seconds(seconds))
        }
        let policies = account.policies
        let verdict = try await runner.check(on: desk)
        say(
            "\(name): \(verdict.happened ? "done" : verdict.problems.joined(separator: "; ")); packing samples by others"
        )
        var samples: [SampleFigures] = []
        for sample in account.samples { samples.append(try await sample.figures()) }
        account.end()
        return SessionBenchReport.Session(name, seed, series, policies, samples, verdict)
    }
}

/// A session whose work is done in another task.
actor SessionRunner {
    private var session: DesktopSession

    init(_ session: DesktopSession) { self.session = session }

    func run(on desk: Desk, for time: Duration) async throws {
        var session = session
        try await session.run(on: desk, for: time)
        self.session = session
    }

    func check(on desk: Desk) async throws -> SessionVerdict {
        var session = session
        let verdict = try await session.check(on: desk)
        self.session = session
        return verdict
    }
}
