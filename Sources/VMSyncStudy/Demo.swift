import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// The main job, end to end, on one machine: a server, two devices, one guest that moves between them while it runs, and
/// the proof that nothing was lost.
package struct Demo: Sendable {
    /// Counts that the guest makes on a device before it moves on: about half a second of work.
    private static let countsBetween = 5

    let guest: SmallGuest
    let switches: Int
    /// Called with what is being done, and with what came out.
    let say: @Sendable (String) -> Void

    package init(guest: SmallGuest, switches: Int, say: @escaping @Sendable (String) -> Void) {
        self.guest = guest
        self.switches = switches
        self.say = say
    }

    package func run(program: String) async throws -> DemoReport {
        try await Trial.with(program: program) { trial in
            try await begin(trial)
            return try await play(trial)
        }
    }

    private func begin(_ trial: Trial) async throws {
        say("starting a sync server and two devices, \"laptop\" and \"desk\", on this machine")
        try await trial.startServer()
        for name in ["laptop", "desk"] { try await trial.addDevice(name) }
        say("creating the VM \"\(Stage.vmName)\" from the small guest; its base image goes to the server")
        try await trial.create(guest, on: "laptop")
        say("starting it on laptop")
        try await trial.tell("laptop", "start", Done())
        say("waiting until the guest has booted and desk is up to date")
    }

    /// The entry of a move that is over.
    private func entry(_ move: SwitchBreakdown, _ stage: Stage) -> DemoReport.Move {
        DemoReport.Move(
            from: stage.standby, to: stage.active, downtime_ms: move.downtimeMilliseconds,
            total_ms: move.totalMilliseconds, last_pack_bytes: move.lastPackBytes, steps_ms: move.stepsMilliseconds)
    }

    private func play(_ trial: Trial) async throws -> DemoReport {
        var stage = try await Stage(trial, active: "laptop", standby: "desk")
        try await stage.waitForGuest(counts: Self.countsBetween)
        try await trial.waitUntilReady(stage.standby)
        var moves: [DemoReport.Move] = []
        var digestsEqual = true
        for number in 1...switches {
            let start = ContinuousClock.now
            let record = try await stage.move()
            let move = SwitchBreakdown(record, total: (ContinuousClock.now - start).milliseconds)
            say("switch \(number): \(stage.standby) → \(stage.active): \(move.text)")
            moves.append(entry(move, stage))
            try await stage.waitForGuest(counts: Self.countsBetween)
            digestsEqual = try await stage.standbyAgrees() && digestsEqual
        }
        say("suspending the VM, and reading all that both devices hold")
        digestsEqual = try await stage.suspendAndVerify() && digestsEqual
        say("going on, then shutting the guest down to check its disk")
        let disk = try await stage.shutDownAndCheckDisk()
        let metrics = try await stage.metrics()
        return DemoReport(
            moves: moves, metrics: metrics, witness: stage.tape.witness, disk: disk, digestsEqual: digestsEqual)
    }
}
