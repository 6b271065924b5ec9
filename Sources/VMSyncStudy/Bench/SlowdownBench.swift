import VMSyncCore

/// What syncing takes from the guest: how much less a program gets done, with checkpoints and without in turn.
package struct SlowdownBench: Sendable {
    package var guest: DesktopGuest
    /// Turns through all intervals.
    package var rounds = 6
    package var secondsPerTurn = 10
    let say: @Sendable (String) -> Void

    package init(guest: DesktopGuest, say: @escaping @Sendable (String) -> Void) {
        self.guest = guest
        self.say = say
    }

    /// Checkpoints a second.
    private static let rates = [0, 1, 10]

    package func run() async throws -> SlowdownBenchReport {
        try await BenchDesk.with(guest, say: say) { desk in
            var report = SlowdownBenchReport(rounds: rounds, seconds_per_turn: secondsPerTurn)
            _ = try await desk.machine.checkpoint()
            for load in GuestLoad.allCases {
                try await load.start(on: desk.desk)
                var row = SlowdownBenchReport.Row(load: load.rawValue)
                for round in 0..<rounds {
                    say("slowdown of a \(load.rawValue) load, round \(round + 1) of \(rounds)")
                    for rate in Self.rates {
                        // What was written meanwhile isn't this turn's.
                        if rate > 0 { _ = try await desk.machine.checkpoint() }
                        row.pieces["\(rate)", default: []].append(try await turn(desk, rate))
                    }
                }
                try await GuestLoad.stop(on: desk.desk)
                report.rows.append(row)
            }
            return report
        }
    }

    /// Pieces of work a second, while `rate` checkpoints a second are made.
    private func turn(_ desk: BenchDesk, _ rate: Int) async throws -> Double {
        let work: @Sendable () async throws -> Double = { [secondsPerTurn] in
            let first = GuestLoad.done(desk.desk) ?? 0
            let start = ContinuousClock.now
            try await Task.sleep(for: .seconds(secondsPerTurn))
            let last = GuestLoad.done(desk.desk) ?? 0
            return Double(last - first) / (ContinuousClock.now - start).seconds
        }
        guard rate > 0 else { return try await work() }
        let result = Slot<Double>()
        _ = try await CheckpointSeries.make(of: desk.machine, every: .seconds(1) / rate) {
            result.value = try await work()
        }
        return result.value ?? 0
    }
}

/// What `SlowdownBench` found out.
package struct SlowdownBenchReport: Sendable, Codable {
    package struct Row: Sendable, Codable {
        package var load: String
        /// By checkpoints a second: pieces of work a second in each round.
        package var pieces: [String: [Double]] = [:]

        /// The part of the work that is lost at `rate` checkpoints a second: the median of the rounds' own, for what
        /// slows a round down slows all of its turns.
        package func slowdown(_ rate: Int) -> Double {
            let losses = zip(pieces["0"] ?? [], pieces["\(rate)"] ?? []).map { 1 - $1 / $0 }
            return losses.sorted().percentile(50) ?? 0
        }
    }

    package var rounds: Int
    package var seconds_per_turn: Int
    package var rows: [Row] = []
}
