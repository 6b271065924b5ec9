import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// A switch between two devices in one house while a person works at the desktop: over a server that is as near as the other
/// device, and from device to device behind a slow line to the server. (docs/protocol/direct.md)
package struct DirectBench: Sendable {
    /// Megabits a second between the two.
    static let cable = 100.0
    /// The slowest line of the replay paper (CMU-CS-07-161), up and down.
    static let slowLine = (up: 0.375, down: 6.0)
    /// Of work before each switch, in milliseconds.
    private static let work = 2000...5000

    enum Way: String, CaseIterable {
        case fastServer = "over a server as near"
        case direct = "directly, server behind 0.375 Mbit/s"
    }

    let guest: DesktopGuest
    let say: @Sendable (String) -> Void
    package var switches = 20
    package var seed: UInt64 = 1

    package init(guest: DesktopGuest, say: @escaping @Sendable (String) -> Void) {
        self.guest = guest
        self.say = say
    }

    /// - Parameter program: the `vmsync` to run.
    /// - Throws: `unauthorized` unless root calls: the house is three networks.
    package func run(program: String) async throws -> DirectBenchReport {
        var report = DirectBenchReport()
        try await PageServer.with { pages in
            for way in Way.allCases { report.rows.append(try await measure(way, program, pages)) }
        }
        return report
    }

    private func measure(_ way: Way, _ program: String, _ pages: PageServer) async throws -> DirectBenchReport.Row {
        try await HomeNetwork.with { home in
            try await home.setCable(toMegabits: Self.cable)
            try await home.setLines(up: Self.cable, down: Self.cable)
            return try await Trial.with(
                program: program, home: home, direct: way == .direct ? "0.0.0.0:0" : "off"
            ) { trial in
                say("direct: starting two devices in one house, and a sync server outside")
                try await trial.startServer()
                for (number, device) in ["A", "B"].enumerated() { try await trial.addDevice(device, inHouse: number) }
                var desktop = try await BusyDesktop.boot(guest, in: trial, pages, say: say)
                var session = try DesktopSession.named("office", seed: seed)
                try await session.prepare(on: desktop.desk)
                try await trial.waitUntilReady(desktop.stage.standby)
                if way == .direct { try await home.setLines(up: Self.slowLine.up, down: Self.slowLine.down) }
                var row = DirectBenchReport.Row(way: way.rawValue)
                var random = SessionRandom(seed: seed, stream: 7)
                for _ in 0..<switches {
                    let moved = try await desktop.whileWorking(&session, for: random.pause(Self.work)) { stage in
                        try await move(&stage)
                    }
                    say("\(way.rawValue): \(moved.seconds.fixed(2)) s, stood still for \(moved.penalty_s.fixed(3)) s")
                    row.switches.append(moved)
                }
                return row
            }
        }
    }

    private func move(_ stage: inout Stage) async throws -> DirectBenchReport.Switch {
        let start = ContinuousClock.now
        let record = try await stage.move()
        let seconds = (ContinuousClock.now - start).seconds
        let breakdown = SwitchBreakdown(record, total: seconds * 1000)
        // Over the server the last pack is fetched.
        return DirectBenchReport.Switch(
            seconds: seconds, penalty_s: breakdown.downtimeMilliseconds / 1000,
            isDirect: record.steps["fetch"] == nil)
    }
}

/// What `DirectBench` found out.
package struct DirectBenchReport: Sendable, Codable {
    package struct Switch: Sendable, Codable {
        /// From the command to its end.
        package var seconds: Double
        /// That the guest stood still.
        package var penalty_s: Double
        package var isDirect: Bool
    }

    package struct Row: Sendable, Codable {
        package var way: String
        package var switches: [Switch] = []

        var penalties: [Double] { switches.map(\.penalty_s).sorted() }
        var totals: [Double] { switches.map(\.seconds).sorted() }
    }

    package var rows: [Row] = []

    package init() {}

    /// The median penalty of the second way over that of the first.
    package var ratio: Double? {
        guard let fast = rows.first?.penalties.percentile(50), let direct = rows.last?.penalties.percentile(50),
            fast > 0
        else { return nil }
        return direct / fast
    }

    package var markdown: String {
        var table = MarkdownTable(head: [
            "switches in one house", "went directly", "stood still, s: median", "p90", "longest", "in all, s: median",
            "longest",
        ])
        for row in rows {
            table.rows.append([
                row.way, "\(row.switches.count(where: \.isDirect)) of \(row.switches.count)",
                (row.penalties.percentile(50) ?? 0).fixed(3), (row.penalties.percentile(90) ?? 0).fixed(3),
                (row.penalties.last ?? 0).fixed(3), (row.totals.percentile(50) ?? 0).fixed(2),
                (row.totals.last ?? 0).fixed(2),
            ])
        }
        return """
            Two devices with \(Int(DirectBench.cable)) Mbit/s between them, in network namespaces of their own, while somebody works \
            at the desktop (office). Directly it takes **\((ratio ?? 0).fixed(2))** of what it takes over a server that is as near.

            \(table.text)
            """
    }
}
