import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStudy

extension EndToEnd {
    /// The sync server is killed, or away; the VM isn't.
    @Suite(.timeLimit(.minutes(10))) struct ServerCrashTests {
        /// Steps of a commit.
        static let commitSteps = ["after-blob-durable", "before-metadata", "after-metadata"]

        @Test func everythingGoesOnByItselfWhenTheServerDiesInACommit() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                for step in Self.commitSteps {
                    await trial.endServer()
                    try await trial.startServer(fault: "server-\(step)@3:kill")
                    _ = try await waitFor("the server to meet its fault") { await trial.serverIsRunning ? nil : true }
                    let head = try #require(try await trial.vm("A")).head
                    try await trial.startServer()
                    try await stage.waitForGuest(counts: 3)
                    try await trial.waitUntilReady("B", atLeast: head.next.next)
                    #expect(try await stage.standbyAgrees(), "after \(step)")
                }
                #expect(try await stage.losses() == [])
            }
        }

        @Test func aSwitchEndsOnOneDeviceWhenTheServerDiesInItsCommit() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                for step in Self.commitSteps {
                    await trial.endServer()
                    try await trial.startServer(fault: "server-switch-\(step):kill")
                    try await stage.waitUntilConnected()
                    let target = stage.standby
                    async let ordered = failure {
                        _ = try await trial.control(target) {
                            try await $0.run("/vms/work/switch", SwitchOrder(to: nil), as: JSONValue.self)
                        }
                    }
                    _ = try await waitFor("the server to meet its fault") { await trial.serverIsRunning ? nil : true }
                    try await trial.startServer()
                    _ = await ordered
                    try await stage.follow()
                    try await stage.waitForGuest(counts: 3)
                    #expect(try await stage.standbyAgrees(), "after \(step)")
                }
                #expect(try await stage.losses() == [])
            }
        }

        @Test func anOfflineDeviceRunsOnAndCatchesUp() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                await trial.endServer()
                let offline = try await waitFor("A to say that the server is away and something is unsaved") {
                    let (daemon, vm) = (try await trial.status("A"), try await trial.state("A"))
                    return !daemon.serverAnswers && vm.notUploadedBytes > 0 && vm.problem != nil ? vm : nil
                }
                #expect(offline.state == .active)
                #expect(offline.problem?.code == .unavailable)
                let later = try await waitFor("A to make checkpoints that wait, all but the oldest in one") {
                    () -> VMStatus? in
                    let vm = try await trial.state("A")
                    guard vm.sequence.rawValue >= offline.sequence.rawValue + 4 else { return nil }
                    return try waiting(in: trial, stage.vm) == [offline.sequence, vm.sequence] ? vm : nil
                }
                #expect(later.head == offline.head)
                #expect(later.notUploadedBytes > offline.notUploadedBytes)
                #expect(try await trial.state("B").state == .disconnected)

                // A daemon that starts without the server takes over what runs.
                try await trial.restart("A")
                let adopted = try await waitFor("A to take over its VM") {
                    let vm = try await trial.vm("A")
                    return vm?.machine?.state == "running" ? vm : nil
                }
                #expect(adopted.state == .active)
                try await stage.waitForGuest(counts: 10)

                try await trial.startServer()
                try await trial.waitUntilReady("B", atLeast: later.sequence.next)
                #expect(try await stage.standbyAgrees())
                _ = try await waitFor("A to have nothing that waits") {
                    try await trial.state("A").notUploadedBytes == 0 ? true : nil
                }
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }

        @Test func aSuspendThatTheServerMissedIsFinishedWhenItIsBack() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                await trial.endServer()
                _ = try await waitFor("a checkpoint to wait for the server") {
                    try await trial.state("A").notUploadedBytes > 0 ? true : nil
                }
                let missed = await failure { try await trial.tell("A", "suspend", Done()) }
                #expect(missed?.code == .unavailable)
                try await trial.startServer()
                for device in ["A", "B"] {
                    _ = try await waitFor("\(device) to know that the VM is suspended") {
                        try await trial.state(device).state == .suspended ? true : nil
                    }
                }
                #expect(try await stage.bothVerify())
                try await trial.tell("A", "start", Done())
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }
    }
}

/// The checkpoints in the outbox of A.
private func waiting(in trial: Trial, _ vm: VMID) throws -> [Sequence] {
    try FileManager.default.contentsOfDirectory(atPath: trial.paths("A", vm).outbox)
        .compactMap { UInt64($0).map(Sequence.init(rawValue:)) }.sorted()
}

extension Stage {
    /// Waits until both devices hear the server again.
    func waitUntilConnected() async throws {
        for device in [active, standby] {
            _ = try await waitFor("\(device) to hear the server") {
                try await trial.status(device).serverAnswers ? true : nil
            }
        }
        try await trial.waitUntilReady(standby)
    }
}
