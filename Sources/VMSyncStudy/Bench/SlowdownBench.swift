import VMSyncCore

/// What syncing takes from the guest: how much less a program gets done, with checkpoints and without in turn.
///
/// A processor that others use too is one time half as fast again as another, for seconds on end. So turns are short and
/// many, and each is compared with the one beside it.
package struct SlowdownBench: Sendable {
    package var guest: DesktopGuest
    /// Turns through all rates.
    package var rounds = 90
    package var secondsPerTurn = 1
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
                    if round % 15 == 0 { say("slowdown of a \(load.rawValue) load, round \(round + 1) of \(rounds)") }
                    // In both orders: what one turn leaves behind for the next meets each of them as often.
                    for rate in round % 2 == 0 ? Self.rates : Self.rates.reversed() {
                        row.pieces["\(rate)", default: []].append(try await turn(desk, rate))
                    }
                }
                try await GuestLoad.stop(on: desk.desk)
                report.rows.append(row)
            }
            return report
        }
    }

    /// Pieces of work a second, while `rate` checkpoints a second are made, in the middle of their intervals. One that
    /// took longer than its interval is followed at once; those that are late by then aren't made up for.
    private func turn(_ desk: BenchDesk, _ rate: Int) async throws -> Double {
        let first = try pieces(desk)
        let start = ContinuousClock.now
        let end = start + .seconds(secondsPerTurn)
        if rate > 0 {
            let interval = Duration.seconds(1) / rate
            for number in 0..<rate * secondsPerTurn {
                try await Task.sleep(until: start + interval * number + interval / 2, clock: .continuous)
                if ContinuousClock.now > end { break }
                _ = try await desk.machine.checkpoint(every: interval)
            }
        }
        try await Task.sleep(until: end, clock: .continuous)
        return try Double(pieces(desk) - first) / (ContinuousClock.now - start).seconds
    }

    /// How many were done so far.
    private func pieces(_ desk: BenchDesk) throws -> Int {
        guard let done = GuestLoad.done(desk.desk) else {
            throw VMSyncError(.machine, "the load in the guest tells nothing any more")
        }
        return done
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
        package func slowdown(_ rate: Int) -> Double { losses(rate).percentile(50) ?? 0 }

        /// The standard error of `slowdown`, from the spread of the rounds: of a median it is 1.25 that of a mean, and
        /// the quartiles of a normal distribution are 1.35 deviations apart.
        package func uncertainty(_ rate: Int) -> Double {
            let losses = losses(rate)
            guard let low = losses.percentile(25), let high = losses.percentile(75) else { return 0 }
            return 1.25 * (high - low) / 1.35 / Double(losses.count).squareRoot()
        }

        private func losses(_ rate: Int) -> [Double] {
            zip(pieces["0"] ?? [], pieces["\(rate)"] ?? []).filter { $0.0 > 0 }.map { 1 - $1 / $0 }.sorted()
        }
    }

    package var rounds: Int
    package var seconds_per_turn: Int
    package var rows: [Row] = []
}
