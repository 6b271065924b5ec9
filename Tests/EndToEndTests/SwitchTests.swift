import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// Switches that mustn't happen, and guests of other kinds.
    @Suite(.timeLimit(.minutes(10))) struct SwitchTests {
        @Test func aSecondSwitchMeanwhileIsRefusedWithItsOwnExitCode() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                // Ready but never handing over: the first switch stays open until its source is back.
                await trial.endDaemon("A")
                let first = Task { try await trial.vmsync("B", "switch", "work", "--json") }
                _ = try await waitFor("the first switch to be open") {
                    let last = try await trial.state("B").lastSwitch
                    return last?.state == .ready ? last : nil
                }
                try await expectLeaseHeld(trial.vmsync("B", "switch", "work", "--json"))
                try await expectLeaseHeld(trial.vmsync("B", "switch", "work", "--to", "B", "--json"))
                try await trial.startDaemon("A", interval: 0.5)
                #expect(try await first.value.code == 0)
                try stage.turn()
                try await stage.waitForGuest(counts: 3)

                // From both devices at once: one of them wins, both ways round.
                for _ in 1...2 {
                    try await trial.waitUntilReady(stage.standby)
                    let (source, target) = (stage.active, stage.standby)
                    async let one = trial.vmsync(source, "switch", "work", "--to", target, "--json")
                    async let other = trial.vmsync(target, "switch", "work", "--json")
                    let codes = [try await one.code, try await other.code].sorted()
                    // The later one comes while the first is open, or when the VM is there already.
                    #expect(codes == [0, 11] || codes == [0, 1], "\(codes)")
                    try await stage.follow()
                    #expect(stage.active == target)
                    try await stage.waitForGuest(counts: 3)
                }
                #expect(try await stage.losses() == [])
            }
        }

        private func expectLeaseHeld(_ outcome: Outcome) throws {
            #expect(outcome.code == 11)
            #expect(try reason(outcome).code.rawValue == "lease-held")
        }

        /// What makes B unable to run the VM, and the word that must be said.
        static let otherRelease = "report-qemu-version:6.2.0"
        static let obstacles = [(otherRelease, "6.2.0"), ("hide-cpu-model:Nehalem", "Nehalem")]

        @Test func anUnlikeTargetRefusesBeforeTheSourcePauses() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                for (obstacle, word) in Self.obstacles {
                    try await trial.restart("B", fault: obstacle)
                    let refused = try await trial.vmsync("B", "switch", "work", "--json")
                    #expect(refused.code == 1)
                    #expect(try reason(refused).code.rawValue == "incompatible")
                    #expect(try reason(refused).message.contains(word))
                    let source = try await waitFor("A to hear of the refusal") {
                        let source = try await trial.state("A")
                        return source.lastSwitch?.state == .refused ? source : nil
                    }
                    #expect(source.state == .active)
                    #expect(source.lastSwitch?.steps.isEmpty == true, "the source has not begun")
                    try await stage.waitForGuest(counts: 3)
                }
                try await trial.restart("B")
                try await trial.waitUntilReady("B")
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }

        @Test func anUnlikeTargetTakesTheVMCold() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                try await trial.restart("B", fault: Self.otherRelease)
                let refused = try await trial.vmsync("B", "switch", "work", "--json")
                #expect(try reason(refused).hint?.contains("--cold") == true)
                let matrix = try await trial.vmsync("A", "doctor", "--json")
                let report = try JSONDecoder().decode(DoctorReport.self, from: Data(matrix.output.utf8))
                #expect(report.fits.map(\.verdict) == [.live, .cold], "\(report.fits)")
                try stage.readTape()
                let before = stage.tape.witness
                let moved = try await trial.vmsync("B", "switch", "work", "--cold")
                #expect(moved.code == 0, "\(moved.errors)")
                try stage.turn()
                // It was shut down in good order, and has booted: its memory is new, its disk is not.
                try stage.beginTapeAnew()
                _ = try await waitFor("the guest to boot on B") {
                    var seen = ConsoleTape()
                    try seen.append(trial.paths("B", stage.vm).consoleLog)
                    return seen.witness.count > 5 && seen.witness.nonces != before.nonces ? true : nil
                }
                #expect(try await trial.state("A").holder == trial.state("B").holder)
                let disk = try await stage.powerOffAndCheckDisk()
                #expect(disk.isClean && before.synced.subtracting(disk.logged).isEmpty)
            }
        }

        @Test func aTargetThatCanNotGoOnGivesTheVMBack() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                try await trial.restart("B", fault: "before-load:fail")
                try await trial.waitUntilReady("B")
                let failed = try await trial.vmsync("B", "switch", "work", "--json")
                #expect(failed.code == 1)
                #expect(try reason(failed).message.contains("can't go on here"))
                for device in ["A", "B"] {
                    _ = try await waitFor("\(device) to know that the VM is suspended") {
                        try await trial.state(device).state == .suspended ? true : nil
                    }
                }
                #expect(try await stage.bothVerify())
                try await done(trial.vmsync("A", "start", "work", "--json"))
                try await stage.waitForGuest(counts: 3)
                try await trial.waitUntilReady("B")
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }

        @Test func anARMGuestMovesToAndFro() async throws {
            try await World.withGuest("aarch64") { stage in
                for _ in 1...2 {
                    try await stage.trial.waitUntilReady(stage.standby)
                    _ = try await stage.move()
                    try await stage.waitForGuest(counts: 12)
                }
                #expect(try await stage.losses() == [])
            }
        }

        @Test func withoutTheTrackerAllMemoryIsComparedAndNothingIsLost() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                for device in ["B", "A"] {
                    await trial.endDaemon(device)
                    try await trial.startDaemon(device, interval: 0.5, environment: ["VMSYNC_RAMWATCH": "/nonexistent"])
                }
                try await trial.waitUntilReady("B")
                let findings = try await trial.control("B") {
                    try await $0.get(ControlPath.doctor, as: DoctorReport.self).findings
                }
                let tracking = try #require(findings.first { $0.subject == "memory tracking" })
                #expect(tracking.verdict == .warning)
                #expect(tracking.detail.contains("compare"))
                for _ in 1...2 {
                    try await trial.waitUntilReady(stage.standby)
                    _ = try await stage.move()
                    try await stage.waitForGuest(counts: 12)
                    #expect(try await trial.state(stage.active).machine?.tracking == "compare")
                    #expect(try await stage.standbyAgrees())
                }
                #expect(try await stage.losses() == [])
            }
        }
    }
}
