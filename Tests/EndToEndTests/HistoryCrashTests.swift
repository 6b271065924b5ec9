import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncStudy

extension EndToEnd {
    /// A device's daemon is killed while it goes back in a VM's history, or copies out of it.
    @Suite(.timeLimit(.minutes(10))) struct HistoryCrashTests {
        /// In the first two nothing has happened yet, but that the device has the lease.
        static let returnSteps = ["return-leased", "return-ready", "return-committed"]

        @Test func aReturnIsWholeOrCanBeginAgainWhenTheDaemonDiesInIt() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                try stage.readTape()
                let nonces = stage.tape.witness.nonces
                let then = try await trial.control("B") {
                    try await $0.post("/vms/work/tag", TagOrder(checkpoint: "latest", tag: "then"), as: Sequence.self)
                }
                try await stage.waitForGuest(counts: 8)
                try await trial.tell("A", "suspend", Done())
                for step in Self.returnSteps {
                    var head = try #require(try await HistoryTests.history(trial).last).sequence
                    try await trial.restart("B", fault: "\(step):kill")
                    #expect(await failure { try await HistoryTests.restore("then", on: "B", trial) } != nil)
                    try await trial.waitForCrash(of: "B")
                    try await trial.startDaemon("B", interval: 0.5)
                    if step != "return-committed" {
                        #expect(try await HistoryTests.history(trial).last?.sequence == head, "after \(step)")
                        // The device that has the lease can go on from the head, and go back then.
                        try await trial.tell("B", "start", StartRequest(force: false))
                        try await trial.tell("B", "suspend", Done())
                        head = try #require(try await HistoryTests.history(trial).last).sequence
                        try await HistoryTests.restore("then", on: "B", trial)
                    }
                    let last = try #require(try await HistoryTests.history(trial).last)
                    #expect(last.sequence == head.next && last.cameFrom == then, "after \(step)")
                    #expect(try await stage.bothVerify(), "after \(step)")
                }
                try await trial.tell("A", "start", StartRequest(force: false))
                try await HistoryTests.waitForCount(on: "A", "work", trial) {
                    $0.count > 3 && $0.nonces == nonces
                }
            }
        }

        @Test func aCopyThatWasNotFinishedIsNotThere() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                let faults =
                    ["fork-registered:fail", "fork-leased:fail", "fork-merged:kill"]
                    + ["fork-registered:kill", "fork-leased:kill"]
                for step in faults {
                    try await trial.restart("B", fault: step)
                    let broken = await failure { try await HistoryTests.restore("latest", as: "zopy", on: "B", trial) }
                    #expect(broken != nil)
                    if step.hasSuffix("kill") {
                        try await trial.waitForCrash(of: "B")
                        try await trial.startDaemon("B", interval: 0.5)
                    }
                    for device in ["B", "A"] {
                        _ = try await waitFor("\(device) to know no copy, after \(step)") {
                            try await HistoryTests.vm(device, "zopy", trial) == nil ? true : nil
                        }
                    }
                }
                try await HistoryTests.restore("latest", as: "zopy", on: "B", trial)
                try stage.readTape()
                let nonces = stage.tape.witness.nonces
                _ = try await trial.control("B") {
                    try await $0.run("/vms/zopy/start", StartRequest(force: false), as: Done.self)
                }
                try await HistoryTests.waitForCount(on: "B", "zopy", trial) { $0.count > 3 && $0.nonces == nonces }
            }
        }
    }
}
