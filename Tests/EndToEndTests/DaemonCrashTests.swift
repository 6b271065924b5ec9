import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncStudy

extension EndToEnd {
    /// The device's daemon is killed; the VM isn't.
    @Suite(.timeLimit(.minutes(10))) struct DaemonCrashTests {
        /// Steps of an ordinary checkpoint. In the first four nothing of it counts yet.
        static let checkpointSteps = [
            "before-pause", "paused", "captured", "before-seal", "after-seal", "before-commit", "after-commit",
        ]
        /// Here the guest waits, paused, for the next daemon.
        static let whilePaused: Set<String> = ["captured"]
        /// Here QEMU loses the socket that it sends the device state to. If it notices before it is through, it lets the
        /// guest run again by itself.
        static let eitherWay: Set<String> = ["paused"]

        @Test func theVMRunsOnWhenItsDaemonDiesAtAnyStepOfACheckpoint() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                for step in Self.checkpointSteps {
                    // The third: a checkpoint between others.
                    try await trial.restart("A", fault: "\(step)@3:kill")
                    try await trial.waitForCrash(of: "A")
                    let reached = try #require(try await trial.vm("B")).head
                    let alone = try await World.runState(trial.paths("A", stage.vm))
                    let isAsExpected = (alone == .running) != Self.whilePaused.contains(step)
                    #expect(isAsExpected || Self.eitherWay.contains(step), "\(alone) after \(step)")
                    try await trial.startDaemon("A", interval: 0.5)
                    try await stage.waitForGuest(counts: 3)
                    try await trial.waitUntilReady("B", atLeast: reached.next.next)
                    #expect(try await trial.state("A").state == .active, "after \(step)")
                    #expect(try await stage.standbyAgrees(), "after \(step)")
                }
                _ = try await stage.move()
                try await stage.waitForGuest(counts: 3)
                #expect(try await stage.losses() == [])
            }
        }

        /// Steps of the last checkpoint on the source.
        static let departureSteps = [
            "departure-paused", "departure-captured", "departure-sealed", "before-departure-commit",
            "departure-committed",
        ]

        @Test func theVMRunsOnExactlyOneDeviceWhenTheSourceDiesInASwitch() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                for step in Self.departureSteps {
                    try await trial.restart(stage.active, fault: "\(step):kill")
                    try await trial.waitUntilReady(stage.standby)
                    let (source, target) = (stage.active, stage.standby)
                    // How the command ends depends on the step; where the VM ends up is what counts.
                    async let ordered = failure {
                        _ = try await trial.control(target) {
                            try await $0.run("/vms/work/switch", SwitchOrder(to: nil), as: JSONValue.self)
                        }
                    }
                    try await trial.waitForCrash(of: source)
                    try await trial.startDaemon(source, interval: 0.5)
                    _ = await ordered
                    try await stage.follow()
                    try await stage.waitForGuest(counts: 3)
                    #expect(try await stage.standbyAgrees(), "after \(step)")
                }
                #expect(try await stage.losses() == [])
            }
        }

        /// Steps of applying a pack.
        static let applySteps = ["apply-begun", "apply-units-done"]
        /// Steps of the arrival on the target, from when the lease is its own.
        static let arrivalSteps = [
            "arrival-fetched", "arrival-applied", "before-activation", "before-load", "after-load", "after-continue",
        ]

        @Test func theSwitchIsFinishedWhenTheTargetDiesInIt() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                for step in Self.applySteps {
                    try await trial.restart("B", fault: "\(step)@3:kill")
                    try await trial.waitForCrash(of: "B")
                    try await trial.startDaemon("B", interval: 0.5)
                    #expect(try await stage.standbyAgrees(), "after \(step)")
                }
                for step in Self.arrivalSteps {
                    try await trial.restart(stage.standby, fault: "\(step):kill")
                    try await trial.waitUntilReady(stage.standby)
                    let (source, target) = (stage.active, stage.standby)
                    async let ordered = failure {
                        _ = try await trial.control(source) {
                            try await $0.run("/vms/work/switch", SwitchOrder(to: target), as: JSONValue.self)
                        }
                    }
                    try await trial.waitForCrash(of: target)
                    try await trial.startDaemon(target, interval: 0.5)
                    #expect(await ordered == nil, "the source's user is told that it is done, after \(step)")
                    try await stage.follow()
                    #expect(stage.active == target, "after \(step)")
                    try await stage.waitForGuest(counts: 3)
                    #expect(try await stage.standbyAgrees(), "after \(step)")
                }
                #expect(try await stage.losses() == [])
            }
        }

        static let shutdownSteps = ["guest-off", "off-sealed", "before-departure-commit", "departure-committed"]

        @Test func aShutdownIsFinishedWhenTheDaemonDiesInIt() async throws {
            try await World.withGuest { stage in
                let trial = stage.trial
                var written: Set<Int> = []
                for step in Self.shutdownSteps {
                    try await trial.restart("A", fault: "\(step):kill")
                    _ = await failure { try await trial.tell("A", "stop", StopRequest(force: false)) }
                    try await trial.waitForCrash(of: "A")
                    try await trial.startDaemon("A", interval: 0.5)
                    for device in ["A", "B"] {
                        _ = try await waitFor("\(device) to know that the VM is off, after \(step)") {
                            let status = try await trial.vm(device)
                            return status?.state == .stopped && status?.holder == nil ? status : nil
                        }
                    }
                    #expect(try await stage.bothVerify(), "after \(step)")
                    try stage.readTape()
                    written.formUnion(stage.tape.witness.synced)
                    try stage.beginTapeAnew()
                    try await trial.tell("A", "start", Done())
                    // It booted anew: the count begins at 1, and once it has written to the disk it may be shut down again.
                    try await stage.waitForGuest(counts: 12)
                }
                let disk = try await stage.powerOffAndCheckDisk()
                #expect(disk.isClean)
                #expect(disk.logged.isSuperset(of: written))
            }
        }
    }
}
