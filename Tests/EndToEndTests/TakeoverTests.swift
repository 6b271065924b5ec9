import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// The active device is away: it works on, is taken over, comes back.
    @Suite(.timeLimit(.minutes(15)), .enabled(if: geteuid() == 0, "only root can make a network"))
    struct TakeoverTests {
        /// The tape begins where the VM was taken over: what the guest counted before is on that of the other device.
        private static func expectNothingLost(_ stage: inout Stage) async throws {
            let losses = try await stage.losses()
            let first = try #require(stage.tape.witness.first)
            #expect(first > 1 && losses == ["\(first - 1) gaps in the guest's counter"])
        }

        @Test func whatTheOldDeviceDidLateIsKeptAsAForkAndBothRun() async throws {
            try await World.withGuestApart { stage, link in
                let trial = stage.trial
                try await link.plug(false)
                // It works on, and saves what it can.
                try await stage.waitForGuest(counts: 40)
                let head = try #require(try await trial.vm("B")).head
                let asked = try await trial.vmsync("B", "switch", "work", "--force")
                #expect(asked.code != 0 && asked.errors.contains("A last synced"), "\(asked.errors)")
                #expect(try await trial.state("B").holder == trial.state("A").holder, "nothing was done without a yes")
                let taken = try await trial.vmsync("B", "switch", "work", "--force", "--yes", "--json")
                #expect(taken.code == 0, "\(taken.errors)")
                let seen = try JSONDecoder().decode(Takeover.self, from: Data(taken.output.utf8))
                #expect(seen.head == head && seen.device == "A")
                var here = try await Stage(trial, active: "B", standby: "A")
                try await here.waitForGuest(counts: 8)
                // Both run, under different epochs; nobody can know better.
                try await stage.waitForGuest(counts: 3)

                try await link.plug(true)
                let forks = try await waitFor("A to come back") { () -> [KeptFork]? in
                    let forks = try await trial.control("A") {
                        try await $0.get("/vms/work/forks", as: [KeptFork].self)
                    }
                    return forks.isEmpty ? nil : forks
                }
                let fork = try #require(forks.first)
                #expect(forks.count == 1 && fork.missing == nil && fork.parent == head && fork.picture != nil)
                try stage.readTape()
                let late = stage.tape.witness
                try await trial.waitUntilReady("A")
                #expect(try await trial.state("A").forks == 1)
                _ = try await waitFor("B to know of it") {
                    try await trial.vm("B")?.others.first?.forks == 1 ? true : nil
                }
                // The other one was not disturbed.
                try await here.waitForGuest(counts: 3)

                let kept = try await trial.vmsync("A", "forks", "keep", "work", fork.id, "--as", "work-late")
                #expect(kept.code == 0, "\(kept.errors)")
                _ = try await trial.control("A") {
                    try await $0.run("/vms/work-late/start", StartRequest(force: false), as: Done.self)
                }
                // It goes on where it was stopped, to the number.
                try await HistoryTests.waitForCount(on: "A", "work-late", trial) {
                    $0.first == late.count + 1 && $0.nonces == late.nonces && $0.count > late.count + 3
                }
                try await here.waitForGuest(counts: 5)
                #expect(try await trial.state("A").forks == 0)
                try await Self.expectNothingLost(&here)
            }
        }

        @Test func whatWasDoneLateIsAForkWheneverTheDaemonDies() async throws {
            let steps = ["late-paused", "late-sealed", "late-noted", "late-marked"]
            try await World.withGuestApart { stage, link in
                let trial = stage.trial
                for (number, step) in steps.enumerated() {
                    try await trial.restart("A", fault: "\(step):kill")
                    try await stage.waitForGuest(counts: 3)
                    try await link.plug(false)
                    try await stage.waitForGuest(counts: 20)
                    let taken = try await trial.vmsync("B", "switch", "work", "--force", "--yes")
                    #expect(taken.code == 0, "\(taken.errors)")
                    try await link.plug(true)
                    try await trial.waitForCrash(of: "A")
                    try await trial.startDaemon("A", interval: 0.5)
                    _ = try await waitFor("A to follow, after \(step)") {
                        try await trial.vm("A")?.forks == 1 ? true : nil
                    }
                    try stage.readTape()
                    let late = stage.tape.witness.count
                    try await trial.waitUntilReady("A")
                    let forks = try await trial.control("A") {
                        try await $0.get("/vms/work/forks", as: [KeptFork].self)
                    }
                    let fork = try #require(forks.last)
                    // Killed after its state was saved, QEMU can't save it again.
                    #expect(fork.missing == nil, "after \(step): \(fork.missing ?? "")")
                    let name = "zopy\(number)"
                    let kept = try await trial.vmsync("A", "forks", "keep", "work", fork.id, "--as", name)
                    #expect(kept.code == 0, "\(kept.errors)")
                    _ = try await trial.control("A") {
                        try await $0.run("/vms/\(name)/start", StartRequest(force: false), as: Done.self)
                    }
                    try await HistoryTests.waitForCount(on: "A", name, trial) { $0.first == late + 1 }
                    _ = try await trial.control("A") {
                        try await $0.run("/vms/\(name)/suspend", Done(), as: Done.self)
                    }
                    // Back to A for the next round.
                    stage = try await Stage(trial, active: "B", standby: "A")
                    _ = try await stage.move()
                    try await trial.waitUntilReady("B")
                }
            }
        }

        @Test func whatWasDoneOfflineIsSavedWhenTheDeviceIsBackAndNobodyTookOver() async throws {
            try await World.withGuestApart { stage, link in
                let trial = stage.trial
                let head = try await trial.state("B").head
                try await link.plug(false)
                try await stage.waitForGuest(counts: 40)
                _ = try await waitFor("A to keep what it can't send") {
                    try await trial.vm("A")?.notUploadedBytes ?? 0 > 0 ? true : nil
                }
                try await link.plug(true)
                _ = try await waitFor("the server to have it") { () -> Bool? in
                    guard let state = try await trial.vm("B") else { return nil }
                    return state.head > head && state.sequence == state.head ? true : nil
                }
                #expect(try await trial.state("A").forks == 0)
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 5)
                #expect(try await stage.losses() == [])
            }
        }

        @Test func aStandbyTakesOverByItselfWhereThatWasAskedFor() async throws {
            try await World.withGuestApart { stage, link in
                let trial = stage.trial
                let set = try await trial.vmsync("B", "policy", "set", "work", "--failover", "10s")
                #expect(set.code == 0, "\(set.errors)")
                try await link.plug(false)
                var here = try await waitFor("B to take over", for: .seconds(180)) { () -> Stage? in
                    guard try await trial.vm("B")?.state == .active else { return nil }
                    return try await Stage(trial, active: "B", standby: "A")
                }
                try await here.waitForGuest(counts: 5)
                try await link.plug(true)
                _ = try await waitFor("A to come back") {
                    try await trial.vm("A")?.forks == 1 ? true : nil
                }
                try await trial.waitUntilReady("A")
                try await Self.expectNothingLost(&here)
            }
        }
    }
}
