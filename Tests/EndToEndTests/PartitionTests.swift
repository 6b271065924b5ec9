import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy
import VMSyncTestSupport

extension EndToEnd {
    /// The network between a device and the rest is cut again and again, also in the middle of switches. One minute of it, or as
    /// many as VMSYNC_PARTITION_MINUTES says.
    @Suite(.timeLimit(.minutes(90)), .enabled(if: geteuid() == 0, "only root can make a network"))
    struct PartitionTests {
        private static var minutes: Double {
            ProcessInfo.processInfo.environment["VMSYNC_PARTITION_MINUTES"].flatMap(Double.init) ?? 1
        }
        /// So often, of all cuts, the device that is away is given up.
        private static let forcedShare = 6

        @Test func whateverIsCutTheVMRunsInOnePlaceAndNothingIsLost() async throws {
            try await World.withGuestApart { stage, link in
                var run = Run(stage, link)
                let deadline = ContinuousClock.now + .seconds(Self.minutes * 60)
                repeat {
                    // Only the near device can be away: the server is on the far side.
                    if run.cuts % Self.forcedShare == Self.forcedShare - 1, run.stage.active == "A" {
                        try await run.giveUp()
                    } else {
                        try await run.cut()
                    }
                } while ContinuousClock.now < deadline
                print("partitions: \(run.words)")
                try await run.expectNothingLost()
                stage = run.stage
            }
        }

        /// What happens to one VM.
        private struct Run {
            var stage: Stage
            let link: ShapedLink
            var random = SeededRandom(seed: 5)
            var cuts = 0
            private var moved = 0
            private var broken = 0
            private var forced = 0
            /// Whether the tape begins in the middle, because the VM was taken over.
            private var isCutTape = false

            init(_ stage: Stage, _ link: ShapedLink) {
                self.stage = stage
                self.link = link
            }

            var words: String { "\(cuts) cuts, \(moved) switches done, \(broken) broken off, \(forced) takeovers" }

            /// A switch begins, the cable is out for a while, and it is seen where the VM runs then.
            mutating func cut() async throws {
                cuts += 1
                let switching: Task<Bool, Never>? = random.number(0..<3) > 0 ? beginSwitch() : nil
                try await pause(0..<600)
                try await link.plug(false)
                try await pause(random.number(0..<2) == 0 ? 10..<500 : 1000..<12_000)
                try await link.plug(true)
                if let switching {
                    if await switching.value { moved += 1 } else { broken += 1 }
                }
                try await settle()
            }

            private mutating func beginSwitch() -> Task<Bool, Never> {
                let (trial, from) = (stage.trial, random.number(0..<2) == 0 ? stage.active : stage.standby)
                let order = SwitchOrder(to: from == stage.active ? stage.standby : nil)
                return Task {
                    let moved = try? await trial.control(from) {
                        try await $0.run("/vms/\(Stage.vmName)/switch", order, as: SwitchRecord.self)
                    }
                    return moved != nil
                }
            }

            /// The device is away and works on; the other one takes over; what the first did late is a fork there.
            mutating func giveUp() async throws {
                cuts += 1
                forced += 1
                try await link.plug(false)
                try await stage.waitForGuest(counts: 10)
                let head = try #require(try await stage.trial.vm("B")).head
                let taken = try await stage.trial.vmsync("B", "switch", Stage.vmName, "--force", "--yes")
                #expect(taken.code == 0, "\(taken.errors)")
                let before = try await stage.trial.vm("B")?.epoch
                // Both run now, under different epochs.
                #expect(try await stage.trial.vm("A")?.epoch != before)
                try await link.plug(true)
                let trial = stage.trial
                let fork = try await waitFor("A to come back") { () -> KeptFork? in
                    try await trial.control("A") { try await $0.get("/vms/work/forks", as: [KeptFork].self) }.first
                }
                #expect(fork.parent == head && fork.missing == nil)
                let dropped = try await trial.vmsync("A", "forks", "drop", Stage.vmName, fork.id, "--yes")
                #expect(dropped.code == 0, "\(dropped.errors)")
                stage = try await Stage(trial, active: "B", standby: "A")
                try stage.beginTapeAnew()
                isCutTape = true
                try await settle()
            }

            /// Waits until it is decided where the VM runs, and looks whether it has gone on there without a gap.
            private mutating func settle() async throws {
                try await stage.follow()
                try await stage.waitForGuest(counts: 2)
                expectNoGap()
            }

            private func expectNoGap() {
                let witness = stage.tape.witness
                let missing = isCutTape ? (witness.first ?? 1) - 1 : 0
                #expect(witness.gaps == missing, "after \(words)")
                #expect(witness.nonces.count == 1)
            }

            mutating func expectNothingLost() async throws {
                let losses = try await stage.losses()
                let first = try #require(stage.tape.witness.first)
                #expect(losses == (isCutTape && first > 1 ? ["\(first - 1) gaps in the guest's counter"] : []))
            }

            private mutating func pause(_ milliseconds: Range<Int>) async throws {
                try await Task.sleep(for: .milliseconds(random.number(milliseconds)))
            }
        }
    }
}
