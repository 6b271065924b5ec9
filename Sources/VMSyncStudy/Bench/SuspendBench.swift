import VMSyncAPI
import VMSyncCore
import VMSyncDevice

/// Suspending a VM on one device and going on with it on another, over slow links, beside the estimate that the SyncOS paper
/// (2018) makes for the same: the whole state goes up, comes down, and the VM takes ten seconds to be there.
///
/// Both devices are on the near side of a `ShapedLink`, the server on the far side: what one sends goes up the link, what the
/// other fetches comes down.
package struct SuspendBench: Sendable {
    /// Megabits a second, in each direction. The paper speaks of the average rates of 3G and WiFi; these are what was
    /// measured of both in its years.
    package static let links = [(name: "3G", megabits: 2), (name: "WiFi", megabits: 20)]
    /// Of the VM, by the paper.
    static let bootSeconds = 10.0
    /// Of suspending and going on, there and back.
    package var rounds = 5
    /// Of undisturbed syncing before each.
    private static let secondsBetween = 3
    let guests: [(name: String, guest: SmallGuest, waitUntilReady: @Sendable (Stage) async throws -> Void)]
    let say: @Sendable (String) -> Void

    /// - Parameter program: the `vmsync` to run.
    /// - Throws: `unauthorized` unless root calls: the link is a network of its own.
    package func run(program: String) async throws -> SuspendBenchReport {
        var report = SuspendBenchReport()
        for (name, guest, waitUntilReady) in guests {
            try await ShapedLink.with { link in
                try await Trial.with(program: program, link: link) { trial in
                    var stage = try await begin(trial, name, guest)
                    try await waitUntilReady(stage)
                    // What came before is no part of it: on the slow link it would take an hour.
                    try await trial.waitUntilReady(stage.standby)
                    let bytes = try await stateBytes(stage)
                    say("\(name): \(ByteCount(bytes)) of state")
                    for (linkName, megabits) in Self.links {
                        try await link.slowDown(toMegabits: megabits)
                        report.rows.append(try await measure(&stage, name, bytes, linkName, megabits, over: link))
                    }
                }
            }
        }
        return report
    }

    /// The small guest is ready when it has booted.
    @Sendable static func waitForNothing(_ stage: Stage) async throws {
        var stage = stage
        try await stage.waitForGuest(counts: 12)
    }

    @Sendable static func waitForDesktop(_ stage: Stage) async throws {
        try await PageServer.with { pages in
            try await DesktopSession.waitForDesktop(Desk(stage.trial.paths(stage.active, stage.vm), pages: pages))
        }
    }

    private func begin(_ trial: Trial, _ name: String, _ guest: SmallGuest) async throws -> Stage {
        say("starting two devices here, and a sync server on the far side, for the \(name)")
        try await trial.startServer()
        for device in ["A", "B"] { try await trial.addDevice(device) }
        try await trial.create(guest, on: "A")
        try await trial.tell("A", "start", Done())
        return try await Stage(trial, active: "A", standby: "B")
    }

    private func measure(
        _ stage: inout Stage, _ guest: String, _ bytes: UInt64, _ linkName: String, _ megabits: Int,
        over link: ShapedLink
    ) async throws -> SuspendBenchReport.Row {
        var row = SuspendBenchReport.Row(
            guest: guest, link: linkName, megabits: megabits, state_bytes: bytes, rounds: [])
        for number in 1...rounds {
            let round = try await suspendAndResume(&stage, over: link)
            say("\(guest), \(linkName), round \(number) of \(rounds): \(round.text)")
            row.rounds.append(round)
        }
        return row
    }

    /// Of the state as one pack from the base, compressed and encrypted: the least that a system that copies it would send.
    private func stateBytes(_ stage: Stage) async throws -> UInt64 {
        try await stage.trial.control(stage.standby) {
            let order = ShareOrder(checkpoint: "latest", start: nil, lifetime: 60, uses: 1, diskOnly: false)
            return try await $0.run("/vms/\(Stage.vmName)/share", order, as: Shared.self)
        }.bytes
    }

    private func suspendAndResume(
        _ stage: inout Stage, over link: ShapedLink
    ) async throws -> SuspendBenchReport.Round {
        let trial = stage.trial
        try await trial.waitUntilReady(stage.standby)
        try await Task.sleep(for: .seconds(Self.secondsBetween))
        try await trial.waitUntilReady(stage.standby)
        let before = try link.bytes()
        let start = ContinuousClock.now
        try await trial.tell(stage.active, "suspend", Done())
        let suspended = ContinuousClock.now
        try stage.turn()
        try await trial.tell(stage.active, "start", StartRequest(force: false))
        let running = ContinuousClock.now
        let sent = try link.bytes() - before
        let skew = try? await waitFor("the guest's clock", for: .seconds(20)) {
            try await trial.vm(stage.active)?.machine?.clock
        }
        return SuspendBenchReport.Round(
            suspend_s: (suspended - start).seconds, resume_s: (running - suspended).seconds, link_bytes: sent,
            clock_skew_s: skew?.skewSeconds, clock_set_after_s: skew?.setAfterSeconds)
    }
}

/// What `SuspendBench` found out.
package struct SuspendBenchReport: Sendable, Codable {
    package struct Round: Sendable, Codable {
        /// From the command until everything is on the server.
        package var suspend_s: Double
        /// From the command on the other device until the guest runs there.
        package var resume_s: Double
        package var link_bytes: UInt64
        package var clock_skew_s: Double?
        /// After the guest went on.
        package var clock_set_after_s: Double?

        var text: String {
            "\(suspend_s.fixed(2)) s to suspend, \(resume_s.fixed(2)) s to go on, \(ByteCount(link_bytes)) over the link"
        }
    }

    package struct Row: Sendable, Codable {
        package var guest: String
        package var link: String
        package var megabits: Int
        /// Of the state as one pack.
        package var state_bytes: UInt64
        package var rounds: [Round]

        var suspend: Double { median(\.suspend_s) }
        var resume: Double { median(\.resume_s) }
        /// Up, down, and the paper's time to boot.
        var estimate: Double {
            2 * Double(state_bytes) * 8 / Double(megabits * 1_000_000) + SuspendBench.bootSeconds
        }

        func median(_ value: (Round) -> Double) -> Double { rounds.map(value).sorted().percentile(50) ?? 0 }
    }

    package var rows: [Row] = []

    package var markdown: String {
        var table = MarkdownTable(head: [
            "guest", "link", "state", "suspend, s", "resume, s", "over the link", "paper's estimate, s",
            "**ours ÷ estimate**", "clock off by, s", "set after, s",
        ])
        for row in rows {
            let ours = row.suspend + row.resume
            let skews = row.rounds.compactMap(\.clock_skew_s).map(abs)
            let times = row.rounds.compactMap(\.clock_set_after_s)
            table.rows.append([
                row.guest, "\(row.link), \(row.megabits) Mbit/s", "\(ByteCount(row.state_bytes))", row.suspend.fixed(2),
                row.resume.fixed(2), "\(ByteCount(Int(row.median { Double($0.link_bytes) })))", row.estimate.fixed(0),
                "**\((ours / row.estimate).fixed(3))**", skews.max().map { $0.fixed(3) } ?? "–",
                times.max().map { $0.fixed(2) } ?? "–",
            ])
        }
        return """
            `vmsync suspend` on one device, then `vmsync start` on another that is up to date; medians of \
            \(rows.first?.rounds.count ?? 0) times there and back, the clock's at worst. The estimate is that of the SyncOS \
            paper: the whole state up and down the link, and 10 s to boot. As the state we take the least: memory and disks as \
            one compressed pack. The paper names no rates; 3G and WiFi are as fast here as the table says, both ways.

            \(table.text)
            """
    }
}
