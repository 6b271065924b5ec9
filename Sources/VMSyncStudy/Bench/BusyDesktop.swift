import VMSyncAPI
import VMSyncCore

/// The desktop guest on one of a trial's devices, at which somebody works while it is switched to and fro.
struct BusyDesktop {
    var stage: Stage
    private let pages: PageServer

    /// What a desktop does after it was booted says nothing of the work.
    private static let bootTime = Duration.seconds(60)
    /// A session goes on until the switch interrupts it.
    private static let sessionTime = Duration.seconds(120)

    /// Creates the VM on device A and boots it there; device B follows.
    static func boot(
        _ guest: DesktopGuest, in trial: Trial, _ pages: PageServer, say: @Sendable (String) -> Void
    ) async throws -> BusyDesktop {
        try await trial.create(guest.guest, on: "A")
        say("booting the desktop")
        try await trial.tell("A", "start", Done())
        let busy = BusyDesktop(stage: try await Stage(trial, active: "A", standby: "B"), pages: pages)
        try await DesktopSession.waitForDesktop(busy.desk)
        try await trial.waitUntilReady("B")
        try await Task.sleep(for: bootTime)
        return busy
    }

    /// Where it is now.
    var desk: Desk { Desk(stage.trial.paths(stage.active, stage.vm), pages: pages) }

    /// Lets `session` go on, and does `body`, which may switch, after `pause`.
    mutating func whileWorking<Result>(
        _ session: inout DesktopSession, for pause: Duration, _ body: (inout Stage) async throws -> Result
    ) async throws -> Result {
        let working = Task { [session, desk] in
            var session = session
            try await session.run(on: desk, for: Self.sessionTime)
        }
        let result: Swift.Result<Result, any Error>
        do {
            try await Task.sleep(for: pause)
            result = .success(try await body(&stage))
        } catch { result = .failure(error) }
        // Its screen may be elsewhere now.
        working.cancel()
        _ = await working.result
        session.follow(to: desk)
        return try result.get()
    }
}
