import Foundation
import Testing
import VMSyncAPI
import VMSyncMachine
import VMSyncPolicy
import VMSyncStudy
import VMSyncTestSupport

extension EndToEnd {
    /// A switch between two networks, as the measurement beside QEMU's live migration makes them.
    @Suite(.timeLimit(.minutes(10)), .enabled(if: geteuid() == 0, "only root can make a network"))
    struct LinkTests {
        @Test func theGuestMovesOverASlowLinkAndBack() async throws {
            try await World.withGuestApart { stage, link in
                let trial = stage.trial
                try await link.slowDown(toMegabits: 100)
                for _ in 1...2 {
                    let before = try link.bytes()
                    let record = try await stage.move()
                    // The last pack at least went over the cable, whichever way.
                    #expect(Double(try link.bytes() - before) > record.steps["pack_bytes"] ?? .infinity)
                    try await stage.waitForGuest(counts: 3)
                    try await trial.waitUntilReady(stage.standby)
                }
                // B's QEMU is in the far network.
                let waiting = try #require(QEMUProcess.find(trial.paths("B", stage.vm)))
                #expect(
                    try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(waiting.pid)/ns/net")
                        != FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/ns/net"))
                #expect(try await stage.losses() == [])
            }
        }

        @Test func aGuestThatOutrunsItsLinkStandsStillUntilItIsSwitched() async throws {
            try await World.withGuestApart { stage, link in
                let trial = stage.trial
                try await link.slowDown(toMegabits: 1)
                try await Self.keepBusy(stage)

                // The link goes while the guest stands still: it runs on.
                var asking = try await Self.askUntilHeld(stage)
                try await link.plug(false)
                try stage.readTape()
                try await stage.waitForGuest(counts: 5)
                asking.cancel()
                _ = await asking.result
                try await link.plug(true)
                try await Self.waitForEnd(trial)
                try await stage.waitForGuest(counts: 3)
                #expect(try await trial.vm("B")?.machine?.state != "running")

                // Its person gives up: it runs on, though what is on its way has minutes to go.
                asking = try await Self.askUntilHeld(stage)
                let head = try await trial.vm("A")?.head
                try await link.slowDown(toMegabits: 0.1, back: 10)
                try stage.readTape()
                asking.cancel()
                _ = await asking.result
                try await Self.waitForEnd(trial)
                try await stage.waitForGuest(counts: 5)
                #expect(try await trial.vm("A")?.head == head)
                try await link.slowDown(toMegabits: 1)

                try await Self.waitForLongRound(trial)
                let heldBefore = try Self.timesHeld(trial)
                let record = try await stage.move()
                #expect(try Self.timesHeld(trial) > heldBefore)
                // Since then, not since the last checkpoint.
                let (stopped, sending) = (record.steps["stopped_at"] ?? 0, record.steps["send"] ?? 0)
                #expect((record.steps["running_at"] ?? 0) - stopped > sending)
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }

        /// What takes eight seconds at 1 Mbit/s: a device that is asked to get ready has done so by then.
        private static let longRound = 1_000_000

        /// A switch, asked for and not over, for which the guest stands still.
        private static func askUntilHeld(_ stage: Stage) async throws -> Task<SwitchRecord, any Error> {
            try await waitForLongRound(stage.trial)
            let heldBefore = try timesHeld(stage.trial)
            let asking = Task {
                var stage = stage
                return try await stage.move()
            }
            _ = try await waitFor("the guest to be held") {
                try timesHeld(stage.trial) > heldBefore ? true : nil
            }
            return asking
        }

        /// Until such a checkpoint has just begun to be sent. The one before may be at its end, and a switch then needs no hold.
        private static func waitForLongRound(_ trial: Trial) async throws {
            let head = try await trial.vm("A")?.head
            _ = try await waitFor("a large checkpoint to be on its way", for: .seconds(300)) {
                try await trial.vm("A").flatMap { $0.head != head && $0.notUploadedBytes > longRound ? true : nil }
            }
        }

        private static func timesHeld(_ trial: Trial) throws -> Int {
            try String(contentsOfFile: "\(trial.folder)/A.log", encoding: .utf8)
                .components(separatedBy: "the guest stands still").count - 1
        }

        private static func waitForEnd(_ trial: Trial) async throws {
            _ = try await waitFor("A to hear that the switch has ended") {
                try await trial.vm("A").flatMap {
                    $0.serverAnswers && [.refused, .failed].contains($0.lastSwitch?.state) ? true : nil
                }
            }
        }

        /// From here on the guest writes several times what 1 Mbit/s carries, and it can't be made smaller; 3 MB at most.
        private static func keepBusy(_ stage: Stage) async throws {
            let file = "head -c 100000 /dev/urandom > /tmp/busy-$((i % 30))"
            let paths = stage.trial.paths(stage.active, stage.vm)
            try await GuestConsole.with(paths.console) { console in
                try await console.type(
                    "(i=0; while :; do i=$((i + 1)); \(file); usleep 200000; done) & echo now-$(echo busy)")
                _ = try await waitFor("the guest to be busy") {
                    let log = FileManager.default.contents(atPath: paths.consoleLog) ?? Data()
                    return log.range(of: Data("now-busy".utf8)).map { _ in true }
                }
            }
        }

        @Test func aSwitchThatItsPersonGivesUpBarsNoOther() async throws {
            try await World.withGuestApart { stage, link in
                let trial = stage.trial
                // The source doesn't hear of it.
                try await link.plug(false)
                let asking = Task {
                    try await trial.control("B") {
                        try await $0.run("/vms/work/switch", SwitchOrder(to: nil), as: SwitchRecord.self)
                    }
                }
                _ = try await waitFor("the switch to be asked for") { try await trial.vm("B")?.lastSwitch }
                asking.cancel()
                _ = await asking.result
                _ = try await waitFor("it to end") {
                    try await trial.vm("B")?.lastSwitch?.state == .refused ? true : nil
                }
                try await link.plug(true)
                try await stage.waitForGuest(counts: 3)
                _ = try await waitFor("A to be heard") { try await trial.vm("A")?.serverAnswers == true ? true : nil }
                try await trial.waitUntilReady("B")
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }
    }
}
