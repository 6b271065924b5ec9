import Foundation
import Testing
import VMSyncAPI
import VMSyncMachine
import VMSyncPolicy
import VMSyncStudy

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
                _ = try await waitFor("it to end", for: .seconds(10)) {
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
