import VMSyncAPI
import VMSyncCore
import VMSyncDevice

/// Our half: a device near, the server and another device far.
extension SwitchBench {
    func moveByVMSync(_ program: String, over link: ShapedLink) async throws -> [SwitchBenchReport.Switch] {
        guard switches > 0 else { return [] }
        return try await Trial.with(program: program, link: link) { trial in
            let stage = try await begin(trial)
            // Base image, booting and the first checkpoint are no part of a switch.
            try await link.slowDown(toMegabits: megabits)
            return try await play(stage, over: link)
        }
    }

    /// The film plays near, and the far device is up to date.
    private func begin(_ trial: Trial) async throws -> Stage {
        say("vmsync: starting a device here, a sync server and another device on the far side")
        try await trial.startServer()
        try await trial.addDevice("near")
        try await trial.addDevice("far", isFar: true)
        say("vmsync: creating the VM of the desktop guest")
        try await trial.create(guest.guest, on: "near")
        say("vmsync: booting the desktop")
        try await trial.tell("near", "start", Done())
        let stage = try await Stage(trial, active: "near", standby: "far")
        try await Film.start(on: trial.paths("near", stage.vm))
        try await trial.waitUntilReady("far")
        return stage
    }

    private func play(_ start: Stage, over link: ShapedLink) async throws -> [SwitchBenchReport.Switch] {
        var stage = start
        var moves: [SwitchBenchReport.Switch] = []
        for number in 1...switches {
            let move = try await move(&stage, over: link)
            say("vmsync: switch \(number) of \(switches), \(move.from) → \(move.to): \(move.text)")
            moves.append(move)
        }
        return moves
    }

    private func move(_ stage: inout Stage, over link: ShapedLink) async throws -> SwitchBenchReport.Switch {
        try await stage.trial.waitUntilReady(stage.standby)
        let syncing = try await bytesPerSecond(over: link)
        try await stage.trial.waitUntilReady(stage.standby)
        let before = try link.bytes()
        let (commanded, start) = (HostClock.milliseconds, ContinuousClock.now)
        let record = try await stage.move()
        let breakdown = SwitchBreakdown(record, total: (ContinuousClock.now - start).milliseconds)
        let sent = try link.bytes() - before
        guard let running = record.steps["running_at"] else {
            throw VMSyncError(.bug, "the switch tells no time at which the guest ran again")
        }
        return SwitchBenchReport.Switch(
            from: stage.standby, to: stage.active, downtime_ms: breakdown.downtimeMilliseconds,
            command_to_running_ms: running - commanded, link_bytes: sent, syncing_bytes_per_s: syncing,
            last_pack_bytes: breakdown.lastPackBytes, steps_ms: breakdown.stepsMilliseconds,
            film_plays: try await Film.isPlaying(on: stage.trial.paths(stage.active, stage.vm)))
    }

    /// While nothing but syncing happens.
    private func bytesPerSecond(over link: ShapedLink) async throws -> Double {
        let (before, start) = (try link.bytes(), ContinuousClock.now)
        try await Task.sleep(for: .seconds(secondsBetween))
        return Double(try link.bytes() - before) / (ContinuousClock.now - start).seconds
    }
}
