import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// A process of its own opens what this one made, and kills itself at a named point.
@Suite("A daemon that is killed")
struct ReplicaCrashTests {
    /// Makes two devices with two checkpoints, runs `body`, which kills a process, and opens the devices again.
    private func withCrash(
        _ crash: (String) async throws -> Void, _ check: (TestDevice, TestDevice, inout SeededRandom) throws -> Void
    ) async throws {
        try await TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 5)
            try Self.prepare(folder, &random)
            try await crash(folder)
            try check(TestDevice(folder + "/a"), TestDevice(folder + "/b"), &random)
        }
    }

    /// Both devices hold checkpoint 2; a third one waits in the outbox of the first and in the inbox of the second.
    private static func prepare(_ folder: String, _ random: inout SeededRandom) throws {
        let (active, standby) = (try TestDevice(folder + "/a"), try TestDevice(folder + "/b"))
        for _ in 0..<2 {
            try active.runGuest(&random)
            try active.checkpoint()
        }
        try active.send(to: standby)
        try active.runGuest(&random, writes: 200)
        try standby.fetch(try active.checkpoint())
    }

    @Test("before the moment of sealing leaves no checkpoint behind")
    func beforeSeal() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                try sealInChild(folder, fault: "before-seal:kill")
            }
        } _: { active, standby, random in
            #expect(active.replica.record.sequence == Sequence(rawValue: 3))
            #expect(try active.replica.outbox().map(\.sequence.rawValue) == [3])
            #expect(try !active.isSound(), "the guest's writes are still to be found")
            try active.checkpoint()
            try active.send(to: standby)
            #expect(try active.isSound())
            #expect(try active.content() == standby.content())
        }
    }

    @Test("after the moment of sealing has made a checkpoint, which the next one finishes")
    func afterSeal() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                try sealInChild(folder, fault: "after-seal:kill")
            }
        } _: {
            try checkSealed($0, $1, &$2)
        }
    }

    @Test("between the parts of a sealed checkpoint leaves them to the next one")
    func unrecordedSeal() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                try sealInChild(folder, fault: "seal-unrecorded:kill")
            }
        } _: {
            try checkSealed($0, $1, &$2)
        }
    }

    private func checkSealed(_ active: TestDevice, _ standby: TestDevice, _ random: inout SeededRandom) throws {
        #expect(active.replica.record.sequence == Sequence(rawValue: 4))
        #expect(try active.replica.outbox().map(\.sequence.rawValue) == [3, 4])
        #expect(try active.isSound())
        try active.runGuest(&random)
        try active.checkpoint()
        try active.send(to: standby)
        #expect(try active.content() == standby.content())
    }

    /// With nothing else in the outbox the device state is changed in its place.
    @Test(
        "while it changes the device state leaves it to the next one",
        arguments: ["before-seal", "after-seal", "seal-state-unnamed", "seal-unrecorded"])
    func deviceState(fault: String) async throws {
        try await withCrash { folder in
            let job = [folder, fault + ":kill"]
            await #expect(processExitsWith: .signal(SIGKILL)) { [job = job as [String]] in
                try TestDevice(job[0] + "/a").replica.acknowledge(Sequence(rawValue: 3))
                try sealInChild(job[0], fault: job[1])
            }
        } _: { active, standby, random in
            try standby.replica.applyInbox(Sequence(rawValue: 3))
            if fault == "before-seal" {
                #expect(active.replica.record.sequence == Sequence(rawValue: 3))
                #expect(try active.replica.outbox().isEmpty)
                #expect(try active.replica.deviceState() == standby.replica.deviceState())
                try active.checkpoint()
            }
            #expect(try active.replica.outbox().map(\.sequence.rawValue) == [4])
            #expect(try active.isSound())
            let state = try active.replica.deviceState()
            try active.send(to: standby)
            #expect(try standby.replica.deviceState() == state)
            for _ in 0..<3 {
                try active.runGuest(&random)
                try active.checkpoint()
                try active.send(to: standby)
            }
            #expect(try active.isSound())
            #expect(try active.content() == standby.content())
        }
    }

    @Test("while it merges what waits loses nothing, and the next one merges on")
    func merging() async throws {
        for fault in ["merge-written", "merge-noted"] {
            try await withCrash { folder in
                let job = [folder, fault + ":kill"]
                await #expect(processExitsWith: .signal(SIGKILL)) { [job = job as [String]] in
                    try mergeInChild(job[0], fault: job[1])
                }
            } _: { active, standby, random in
                let waiting = try active.replica.outbox().map(\.sequence.rawValue)
                #expect(waiting == (fault == "merge-noted" ? [3, 5] : [3, 4, 5]))
                #expect(try active.isSound())
                try active.runGuest(&random)
                try active.checkpoint()
                try active.replica.mergeOutbox()
                try active.send(to: standby)
                #expect(try active.content() == standby.content())
            }
        }
    }

    @Test("while shutting the VM off finishes that")
    func off() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                try sealInChild(folder, .off, fault: "after-seal:kill")
            }
        } _: { active, standby, _ in
            #expect(active.replica.record.kind == .off)
            #expect(try active.isSound())
            try active.send(to: standby)
            #expect(try active.content() == standby.content())
        }
    }

    @Test("a seal that fails behind its moment counts, and the next capture finishes it")
    func failedSeal() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .success) { [folder = folder as String] in
                setenv("VMSYNC_FAULT", "after-seal:fail", 1)
                let active = try TestDevice(folder + "/a")
                var random = SeededRandom(seed: 77)
                try active.runGuest(&random)
                #expect(throws: VMSyncError.self) { try active.checkpoint() }
                #expect(try active.replica.outbox().map(\.sequence.rawValue) == [3])
                try active.runGuest(&random)
                try active.checkpoint()
                #expect(try active.replica.outbox().map(\.sequence.rawValue) == [3, 4, 5])
            }
        } _: { active, standby, _ in
            #expect(try active.isSound())
            try active.send(to: standby)
            #expect(standby.replica.record.sequence == Sequence(rawValue: 5))
            #expect(try active.content() == standby.content())
        }
    }

    @Test("while it applies a pack applies it again")
    func applyBegun() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                try applyInChild(folder, fault: "apply-begun:kill")
            }
        } _: { active, standby, _ in
            try checkApplied(active, standby)
        }
    }

    @Test("with all units applied applies them again")
    func unitsDone() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                try applyInChild(folder, fault: "apply-units-done:kill")
            }
        } _: { active, standby, _ in
            try checkApplied(active, standby)
        }
    }

    @Test("with the device state in place and the record not applies again")
    func applyUnrecorded() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                try applyInChild(folder, fault: "apply-unrecorded:kill")
            }
        } _: { active, standby, _ in
            try checkApplied(active, standby)
        }
    }

    private func checkApplied(_ active: TestDevice, _ standby: TestDevice) throws {
        #expect(standby.replica.interruptedApply == Sequence(rawValue: 3))
        #expect(standby.replica.record.sequence == Sequence(rawValue: 2))
        #expect(throws: VMSyncError.self, "a half applied state is no parent") { try standby.checkpoint() }
        try standby.replica.applyInbox(Sequence(rawValue: 3))
        #expect(standby.replica.interruptedApply == nil)
        #expect(try standby.isSound())
        #expect(try active.content() == standby.content())
    }

    @Test("on the way back to the base goes on to there")
    func reset() async throws {
        try await withCrash { folder in
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                setenv("VMSYNC_FAULT", "reset-begun@2:kill", 1)
                try TestDevice(folder + "/fresh").replica.reset()
            }
            await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String] in
                setenv("VMSYNC_FAULT", "reset-begun:kill", 1)
                try TestDevice(folder + "/a").replica.reset()
            }
        } _: { active, _, random in
            #expect(active.replica.record.sequence == .base)
            #expect(try active.replica.outbox().isEmpty)
            #expect(try active.isSound())
            try active.runGuest(&random)
            try active.checkpoint()
            #expect(try active.isSound())
        }
    }
}

/// In the child: the guest runs, then a checkpoint is sealed.
private func sealInChild(_ folder: String, _ kind: Manifest.Kind = .live, fault: String) throws {
    setenv("VMSYNC_FAULT", fault, 1)
    let active = try TestDevice(folder + "/a")
    var random = SeededRandom(seed: 77)
    try active.runGuest(&random, writes: 100)
    try active.checkpoint(kind)
}

/// In the child: two more checkpoints are sealed and merged.
private func mergeInChild(_ folder: String, fault: String) throws {
    setenv("VMSYNC_FAULT", fault, 1)
    let active = try TestDevice(folder + "/a")
    var random = SeededRandom(seed: 78)
    for _ in 0..<2 {
        try active.runGuest(&random, writes: 60)
        try active.checkpoint()
    }
    try active.replica.mergeOutbox()
}

/// In the child: what waits in the inbox is applied.
private func applyInChild(_ folder: String, fault: String) throws {
    setenv("VMSYNC_FAULT", fault, 1)
    try TestDevice(folder + "/b").replica.applyInbox(Sequence(rawValue: 3))
}
