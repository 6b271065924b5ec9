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
        say("creating the VM \"work\" from the small guest; its base image goes to the server")
        _ = try await trial.control("laptop") {
            try await $0.run(ControlPath.vms, guest.order("work"), as: String.self)
        }
        say("starting it on laptop")
        _ = try await trial.control("laptop") { try await $0.run("/vms/work/start", Done(), as: Done.self) }
        say("waiting until the guest has booted and desk is up to date")
    }

    private func play(_ trial: Trial) async throws -> DemoReport {
        var stage = try await Stage(trial)
        try await stage.waitForGuest(counts: Self.countsBetween)
        try await trial.waitUntilReady(stage.standby)
        var moves: [DemoReport.Move] = []
        var digestsEqual = true
        for number in 1...switches {
            let start = ContinuousClock.now
            let record = try await trial.control(stage.standby) {
                try await $0.run("/vms/work/switch", SwitchOrder(to: nil), as: SwitchRecord.self)
            }
            let move = SwitchBreakdown(record, total: (ContinuousClock.now - start).milliseconds)
            say("switch \(number): \(stage.active) → \(stage.standby): \(move.text)")
            moves.append(stage.entry(move))
            try stage.turn()
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

/// Which device is active, and the console of the guest over both.
private struct Stage {
    let trial: Trial
    let vm: VMID
    var active = "laptop"
    var standby = "desk"
    var tape = ConsoleTape()

    init(_ trial: Trial) async throws {
        self.trial = trial
        guard let status = try await trial.vm("laptop") else { throw VMSyncError(.notFound, "the VM is not there") }
        vm = status.id
    }

    private func console(_ device: String) -> String { trial.paths(device, vm).consoleLog }

    /// Waits until the guest has counted on by `counts` on the active device.
    mutating func waitForGuest(counts: Int) async throws {
        try tape.append(console(active))
        let goal = tape.witness.count + counts
        let (path, start) = (console(active), tape)
        tape = try await waitFor("the guest to run on \(active)") {
            var tape = start
            try tape.append(path)
            return tape.witness.count >= goal ? tape : nil
        }
    }

    /// The other device is the active one now; what the guest last said on the old one is complete.
    mutating func turn() throws {
        try tape.append(console(active))
        (active, standby) = (standby, active)
    }

    func entry(_ move: SwitchBreakdown) -> DemoReport.Move {
        DemoReport.Move(
            from: active, to: standby, downtime_ms: move.downtimeMilliseconds, total_ms: move.totalMilliseconds,
            last_pack_bytes: move.lastPackBytes, steps_ms: move.stepsMilliseconds)
    }

    /// Whether both devices give the same digest for the same checkpoint, the standby having caught up.
    func standbyAgrees() async throws -> Bool {
        try await trial.waitUntilReady(standby)
        return try await waitFor("both devices to hold the same checkpoint", every: .milliseconds(50)) {
            guard let here = try await trial.vm(active), let there = try await trial.vm(standby),
                here.sequence == there.sequence, here.sequence > .base
            else { return nil }
            return here.digest == there.digest
        }
    }

    mutating func suspendAndVerify() async throws -> Bool {
        _ = try await trial.control(active) { try await $0.run("/vms/work/suspend", Done(), as: Done.self) }
        try tape.append(console(active))
        guard let last = try await trial.vm(active)?.sequence else { return false }
        var digests: Set<String> = []
        for device in [active, standby] {
            _ = try await waitFor("\(device) to hold checkpoint \(last)") {
                try await trial.vm(device)?.sequence == last ? true : nil
            }
            let found = try await trial.control(device) { try await $0.post("/vms/work/verify", as: Verification.self) }
            digests.formUnion([found.recorded, found.recomputed])
        }
        return digests.count == 1
    }

    /// Goes on where the guest was suspended, then presses its power button.
    mutating func shutDownAndCheckDisk() async throws -> DiskCheck {
        _ = try await trial.control(active) { try await $0.run("/vms/work/start", Done(), as: Done.self) }
        try await waitForGuest(counts: 5)
        _ = try await trial.control(active) {
            try await $0.run("/vms/work/stop", StopRequest(force: false), as: Done.self)
        }
        try tape.append(console(active))
        return try await DiskCheck(socket: trial.paths(active, vm).disks, folder: trial.folder)
    }

    func metrics() async throws -> [CheckpointMetrics] {
        var all: [CheckpointMetrics] = []
        for device in [active, standby] {
            all += try await trial.control(device) {
                try await $0.get("/vms/work/metrics", as: [CheckpointMetrics].self)
            }
        }
        return all
    }
}
