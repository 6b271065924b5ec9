#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import VMSyncAPI
import VMSyncCore
import VMSyncDevice
import VMSyncPolicy

/// Whether `switch-within` keeps what it promises, and for how many bytes: a person works at the desktop and switches at
/// moments that nobody foresees, over the links of the replay paper (CMU-CS-07-161).
///
/// Both devices are on the near side of a `ShapedLink`, the server on the far side: what one sends goes up the link, what the
/// other fetches comes down.
package struct PromiseBench: Sendable {
    package struct Link: Sendable {
        let name: String
        /// Megabits a second.
        let up: Double
        let down: Double
    }

    package static let links = [
        Link(name: "Cable", up: 0.375, down: 6), Link(name: "DSL", up: 0.75, down: 3),
        Link(name: "EVDO", up: 1.2, down: 3.8),
    ]
    /// Seconds.
    package static let promises = [1, 5, 20]
    /// Of work before a switch, in milliseconds.
    private static let work = 4000...10_000
    /// Where `status` says that the promise can't be kept, a switch that would take longer than this isn't made: it would only
    /// show that.
    fileprivate static let hopeless = 30.0
    /// After which a person gives a switch up, where `status` had promised more.
    private static let patience = Duration.seconds(120)
    /// Megabits a second while programs are started.
    private static let preparing = 100
    private static let settlingMax = Duration.seconds(60)
    /// In which the devices learn what the link carries.
    private static let introduction = Duration.seconds(15)

    let guest: DesktopGuest
    let say: @Sendable (String) -> Void
    package var switches = 20
    /// What is done meanwhile, one after the other.
    package var sessions = ["idle", "office", "web", "video"]
    package var seed: UInt64 = 1

    package init(guest: DesktopGuest, say: @escaping @Sendable (String) -> Void) {
        self.guest = guest
        self.say = say
    }

    /// - Parameter program: the `vmsync` to run.
    /// - Throws: `unauthorized` unless root calls: the link is a network of its own.
    package func run(program: String) async throws -> PromiseBenchReport {
        var report = PromiseBenchReport()
        try await PageServer.with { pages in
            try await ShapedLink.with { link in
                try await Trial.with(program: program, link: link) { trial in
                    say("promises: starting two devices here, and a sync server on the far side")
                    try await trial.startServer()
                    for device in ["A", "B"] { try await trial.addDevice(device, interval: nil) }
                    var desktop = try await BusyDesktop.boot(guest, in: trial, pages, say: say)
                    try await measure(&desktop, over: link, into: &report)
                }
            }
        }
        return report
    }

    private func measure(
        _ desktop: inout BusyDesktop, over link: ShapedLink, into report: inout PromiseBenchReport
    ) async throws {
        for (index, name) in sessions.enumerated() {
            let count = switches * (index + 1) / sessions.count - switches * index / sessions.count
            var session = try DesktopSession.named(name, seed: seed)
            try await link.slowDown(toMegabits: Self.preparing)
            try await session.prepare(on: desktop.desk)
            for shape in Self.links {
                for promise in Self.promises {
                    let cell = report.cell(shape, promise)
                    try await measure(&desktop, &session, into: &report.cells[cell], count, shape, over: link)
                }
            }
            try await session.leave(on: desktop.desk)
        }
    }

    private func set(_ promise: Int, on stage: Stage) async throws {
        let order = PolicyOrder(values: [PolicyKey.switchWithin.rawValue: "\(promise)s"], places: [:])
        _ = try await stage.trial.control(stage.active) {
            try await $0.post("/vms/\(Stage.vmName)/policy", order, as: PolicyReport.self)
        }
    }

    private func measure(
        _ desktop: inout BusyDesktop, _ session: inout DesktopSession, into cell: inout PromiseBenchReport.Cell,
        _ count: Int, _ shape: Link, over link: ShapedLink
    ) async throws {
        var random = SessionRandom(seed: seed, stream: UInt64(cell.promise_s))
        // What starting the programs takes, and what was left of the cell before, is saved first: it says nothing of this one.
        try await link.slowDown(toMegabits: Self.preparing)
        try await set(cell.promise_s, on: desktop.stage)
        try await settle(desktop.stage)
        try await link.slowDown(toMegabits: shape.up, back: shape.down)
        try await beginAnew(desktop.stage)
        let (before, start) = (try link.bytes(), ContinuousClock.now)
        for _ in 0..<count {
            let moved = try await desktop.whileWorking(&session, for: random.pause(Self.work)) {
                [name = session.name] stage in try await move(&stage, during: name, over: link, shape)
            }
            say("\(shape.name), within \(cell.promise_s) s, \(session.name): \(moved.text)")
            cell.switches.append(moved)
        }
        cell.bytes += try link.bytes() - before
        cell.seconds += (ContinuousClock.now - start).seconds
    }

    /// Waits until what the link couldn't carry at once is saved: a program's start, or what was left of the session before.
    private func settle(_ stage: Stage) async throws {
        let deadline = ContinuousClock.now + Self.settlingMax
        try await stage.trial.tell(stage.active, "sync", Done())
        while ContinuousClock.now < deadline {
            if try await stage.trial.vm(stage.active)?.sync?.keepsPromise ?? false { return }
            try await Task.sleep(for: .seconds(1))
        }
    }

    /// As if the devices had just come to this network: what they know of the link they know of another one.
    private func beginAnew(_ stage: Stage) async throws {
        for device in [stage.active, stage.standby] {
            await stage.trial.endDaemon(device, SIGTERM)
            try await stage.trial.startDaemon(device, interval: nil)
        }
        try await Task.sleep(for: Self.introduction)
    }

    private func move(
        _ stage: inout Stage, during session: String, over link: ShapedLink, _ shape: Link
    ) async throws -> PromiseBenchReport.Switch {
        let said = try await stage.trial.vm(stage.active)?.sync
        if let said, said.keepsPromise == false, let seconds = said.switchSeconds, seconds > Self.hopeless {
            return PromiseBenchReport.Switch(session: session, forecast_s: seconds, said_kept: false)
        }
        let commanded = HostClock.milliseconds
        let record: SwitchRecord
        do {
            record = try await Self.moveUnlessItTakesTooLong(&stage)
        } catch {
            try Task.checkCancellation()
            // Both devices are to hold the same again, which this link would take long for.
            try await link.slowDown(toMegabits: Self.preparing)
            try await stage.follow()
            try await link.slowDown(toMegabits: shape.up, back: shape.down)
            return PromiseBenchReport.Switch(
                session: session, forecast_s: said?.switchSeconds, said_kept: said?.keepsPromise ?? true,
                problem: VMSyncError(error).message)
        }
        guard let running = record.steps["running_at"] else {
            throw VMSyncError(.bug, "the switch tells no time at which the guest ran again")
        }
        let breakdown = SwitchBreakdown(record, total: running - commanded)
        return PromiseBenchReport.Switch(
            session: session, seconds: breakdown.totalMilliseconds / 1000,
            penalty_s: breakdown.downtimeMilliseconds / 1000, forecast_s: said?.switchSeconds,
            said_kept: said?.keepsPromise ?? true)
    }

    private static func moveUnlessItTakesTooLong(_ stage: inout Stage) async throws -> SwitchRecord {
        let moving = Task { [stage] in
            var stage = stage
            let record = try await stage.move()
            return (stage, record)
        }
        let impatience = Task {
            try await Task.sleep(for: patience)
            moving.cancel()
        }
        let moved = await moving.result
        impatience.cancel()
        do {
            let record: SwitchRecord
            (stage, record) = try moved.get()
            return record
        } catch  where moving.isCancelled {
            throw VMSyncError(.timeout, "given up after \(Int(patience.seconds)) s")
        }
    }
}

/// What `PromiseBench` found out.
package struct PromiseBenchReport: Sendable, Codable {
    package struct Switch: Sendable, Codable {
        package var session: String
        /// From the command until the guest ran on the other device; nil if it wasn't made, or failed.
        package var seconds: Double?
        /// That the guest stood still.
        package var penalty_s: Double?
        /// What `status` said just before that a switch would take; nil if it said that this isn't known.
        package var forecast_s: Double?
        /// Whether it said that the promise would be kept.
        package var said_kept: Bool
        /// Why the switch failed.
        package var problem: String?

        var text: String {
            let said =
                (forecast_s.map { "forecast \($0.fixed(2)) s" } ?? "no forecast")
                + (said_kept ? "" : ", said that it can't be kept")
            guard let seconds, let penalty_s else {
                return "\(problem ?? "not made"); \(said)"
            }
            return "\(seconds.fixed(2)) s, the guest stood still for \(penalty_s.fixed(2)) s; \(said)"
        }
    }

    package struct Cell: Sendable, Codable {
        package var link: String
        package var up: Double
        package var down: Double
        package var promise_s: Int
        package var switches: [Switch] = []
        /// Over the link, both ways together, and in how much time.
        package var bytes: UInt64 = 0
        package var seconds = 0.0

        /// Of the switches of which `status` said that the promise holds.
        var promised: [Switch] { switches.filter(\.said_kept) }
        var kept: Int { promised.count(where: isWithin) }
        /// Of all, whatever `status` said.
        var within: Int { switches.count(where: isWithin) }

        private func isWithin(_ made: Switch) -> Bool { made.seconds ?? .infinity <= Double(promise_s) }
    }

    package var cells: [Cell] = []

    package init() {}

    /// The cell's place among them; a new one if there is none yet.
    mutating func cell(_ link: PromiseBench.Link, _ promise: Int) -> Int {
        if let known = cells.firstIndex(where: { $0.link == link.name && $0.promise_s == promise }) { return known }
        cells.append(Cell(link: link.name, up: link.up, down: link.down, promise_s: promise))
        return cells.count - 1
    }

    package var markdown: String {
        var table = MarkdownTable(head: [
            "link, Mbit/s up/down", "promised, s", "switch, s: median", "longest", "stood still, s: median", "longest",
            "**kept**", "within it, of all", "over the link, per minute",
        ])
        func figure(_ seconds: Double?) -> String { seconds?.fixed(2) ?? "" }
        for cell in cells {
            let (totals, penalties) = (
                cell.promised.compactMap(\.seconds).sorted(), cell.promised.compactMap(\.penalty_s).sorted()
            )
            table.rows.append([
                "\(cell.link), \(cell.up)/\(cell.down)", "\(cell.promise_s)", figure(totals.percentile(50)),
                figure(totals.last),
                figure(penalties.percentile(50)), figure(penalties.last),
                "**\(cell.kept) of \(cell.promised.count)**", "\(cell.within) of \(cell.switches.count)",
                "\(ByteCount(Int(Double(cell.bytes) / max(1, cell.seconds) * 60)))",
            ])
        }
        return """
            `switch-within` over the links of the replay paper, while a person works at the desktop (idle, office, web, video) and \
            switches at any time. The times are from the command to the guest's first instruction on the other device, of the \
            switches of which `status` said just before that the promise holds. Of the others, where it said that it can't be kept \
            or not for sure, such as would take longer than \(Int(PromiseBench.hopeless)) s aren't made.

            \(table.text)
            """
    }
}
