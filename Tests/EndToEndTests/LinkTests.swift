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
                func timesHeld() throws -> Int {
                    try String(contentsOfFile: "\(trial.folder)/A.log", encoding: .utf8)
                        .components(separatedBy: "the guest stands still").count - 1
                }
                func waitForBacklog() async throws {
                    _ = try await waitFor("much to be on its way", for: .seconds(60)) {
                        try await trial.vm("A")?.sync.flatMap { $0.behindBytes > Self.backlog ? true : nil }
                    }
                }
                try await link.slowDown(toMegabits: 1)
                try await Self.keepBusy(stage)
                try await waitForBacklog()
                // The link goes while the guest stands still: it runs on.
                let asking = Task { [stage] in
                    var stage = stage
                    return try await stage.move()
                }
                _ = try await waitFor("the guest to be held", for: .seconds(60)) {
                    try timesHeld() > 0 ? true : nil
                }
                try await link.plug(false)
                try stage.readTape()
                try await stage.waitForGuest(counts: 5)
                asking.cancel()
                _ = await asking.result
                try await link.plug(true)
                _ = try await waitFor("the switch to end", for: .seconds(60)) {
                    try await trial.vm("A").flatMap {
                        $0.serverAnswers && [.refused, .failed].contains($0.lastSwitch?.state) ? true : nil
                    }
                }
                try await stage.waitForGuest(counts: 3)
                #expect(try await trial.vm("B")?.machine?.state != "running")

                try await waitForBacklog()
                let heldBefore = try timesHeld()
                let record = try await stage.move()
                #expect(try timesHeld() > heldBefore)
                // Since then, not since the last checkpoint.
                let (stopped, sending) = (record.steps["stopped_at"] ?? 0, record.steps["send"] ?? 0)
                #expect((record.steps["running_at"] ?? 0) - stopped > sending)
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }

        /// Of what is on its way then, at 1 Mbit/s, five seconds at least.
        private static let backlog: UInt64 = 700_000

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
