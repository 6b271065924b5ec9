import Testing
import VMSyncCore
import VMSyncPolicy

/// What a device does next, rule by rule; the wording of each test is the rule.
@Suite("Device plan")
struct DevicePlanTests {
    let me = DeviceID.random()
    let other = DeviceID.random()

    /// A standby at checkpoint 7 with a QEMU waiting, while `other` is active.
    private func following() -> DeviceSituation {
        DeviceSituation(
            me: me,
            server: .init(
                holder: other, epoch: Epoch(rawValue: 3), head: Sequence(rawValue: 7), headKind: .live,
                pendingSwitch: nil),
            machine: .waiting, replica: Sequence(rawValue: 7), hasBase: true, outbox: [], checkpointIsDue: false,
            startWanted: false, obstacle: nil)
    }

    /// The active device at checkpoint 7, its guest running.
    private func active() -> DeviceSituation {
        var situation = following()
        situation.server?.holder = me
        situation.machine = .running
        return situation
    }

    /// A switch from one device to the other that has come as far as `state`.
    private func pending(
        from: DeviceID, to: DeviceID, _ state: SwitchState, isCold: Bool = false
    ) throws -> SwitchRecord {
        let now = Timestamp(rawValue: 0)
        var lease = LeaseState(vm: .random(), epoch: Epoch(rawValue: 3), holder: from)
        let id = SwitchID.random()
        _ = try lease.requestSwitch(id, to: to, isCold: isCold, at: now)
        if state == .ready || state == .moved { _ = try lease.answer(.ready(at: .base), to: id, by: to, at: now) }
        if state == .moved {
            _ = try lease.commit(
                CommitOffer(
                    epoch: Epoch(rawValue: 3), sequence: Sequence(rawValue: 1), parent: .base, kind: .live, size: 1,
                    checksum: ContentHash(digest: [UInt8](repeating: 0, count: 32)), then: .move(id)),
                by: from, known: nil, at: now)
        }
        return try #require(lease.lastSwitch)
    }

    @Test func nothingIsDoneBeforeTheServerWasHeard() {
        for machine in [DeviceSituation.Machine.none, .waiting, .running, .held, .died, .shutDown] {
            var situation = active()
            situation.machine = machine
            situation.checkpointIsDue = true
            situation.server = nil
            #expect(situation.nextAction == .wait)
        }
    }

    // MARK: Cold switches

    @Test func forAColdSwitchTheGuestIsShutDownOnceItsTargetIsReady() throws {
        var situation = active()
        situation.server?.pendingSwitch = try pending(from: me, to: other, .requested, isCold: true)
        #expect(situation.nextAction == .wait)
        let ready = try pending(from: me, to: other, .ready, isCold: true)
        situation.server?.pendingSwitch = ready
        #expect(situation.nextAction == .shutDownGuest(ready.id))
        situation.shutdown = .asked
        #expect(situation.nextAction == .wait)
        situation.checkpointIsDue = true
        #expect(situation.nextAction == .checkpoint, "it is saved as ever until then")
        situation.machine = .shutDown
        #expect(situation.nextAction == .sealOff)
    }

    @Test func aGuestThatDoesNotShutDownStaysWhereItIs() throws {
        var situation = active()
        let ready = try pending(from: me, to: other, .ready, isCold: true)
        situation.server?.pendingSwitch = ready
        situation.shutdown = .overdue
        guard case .declineHandOver(let id, let reason) = situation.nextAction else {
            Issue.record("it is waited for without end")
            return
        }
        #expect(id == ready.id && reason.code == .timeout)
    }

    @Test func aTargetThatCanOnlyBootTheVMTakesItCold() throws {
        var situation = following()
        situation.machine = .none
        situation.obstacle = VMSyncError(.incompatible, "another QEMU")
        let warm = try pending(from: other, to: me, .requested)
        situation.server?.pendingSwitch = warm
        guard case .refuse(warm.id, _) = situation.nextAction else {
            Issue.record("a running guest can't move here")
            return
        }
        let cold = try pending(from: other, to: me, .requested, isCold: true)
        situation.server?.pendingSwitch = cold
        #expect(situation.nextAction == .announceReady(cold.id))
        situation.coldObstacle = VMSyncError(.incompatible, "no such machine")
        guard case .refuse(cold.id, _) = situation.nextAction else {
            Issue.record("it can't even boot here")
            return
        }
    }

    // MARK: Standby

    @Test func aStandbyAtTheHeadWaits() { #expect(following().nextAction == .wait) }

    @Test func aStandbyBehindTheHeadAppliesTheNextCheckpoint() {
        var situation = following()
        situation.replica = Sequence(rawValue: 4)
        #expect(situation.nextAction == .applyNext)
    }

    @Test func aDeviceWithoutTheBaseFetchesItFirst() {
        var situation = following()
        situation.hasBase = false
        situation.replica = nil
        situation.machine = .none
        #expect(situation.nextAction == .fetchBase)
    }

    @Test func aDamagedReplicaIsRebuiltWithNoQEMUOnIt() {
        var situation = following()
        situation.replica = nil
        #expect(situation.nextAction == .discard)
        situation.machine = .none
        #expect(situation.nextAction == .rebuild)
    }

    @Test func aReplicaBeyondTheHeadIsOffTheHistory() {
        var situation = following()
        situation.machine = .none
        situation.replica = Sequence(rawValue: 9)
        #expect(situation.nextAction == .rebuild)
    }

    @Test func aQEMUWaitsOnlyForALiveHead() {
        var situation = following()
        situation.machine = .none
        #expect(situation.nextAction == .prepare)
        situation.server?.headKind = .off
        #expect(situation.nextAction == .wait)
        situation.machine = .waiting
        #expect(situation.nextAction == .discard)
    }

    @Test func readinessIsAnnouncedOnlyAtTheHeadWithAQEMUWaiting() throws {
        var situation = following()
        let requested = try pending(from: other, to: me, .requested)
        situation.server?.pendingSwitch = requested
        #expect(situation.nextAction == .announceReady(requested.id))
        situation.machine = .none
        #expect(situation.nextAction == .prepare)
        situation.machine = .waiting
        situation.replica = Sequence(rawValue: 6)
        #expect(situation.nextAction == .applyNext)
    }

    @Test func aDeviceThatCannotRunTheVMRefusesBeforeAnythingElse() throws {
        var situation = following()
        let requested = try pending(from: other, to: me, .requested)
        let obstacle = VMSyncError(.incompatible, "another QEMU")
        situation.server?.pendingSwitch = requested
        situation.obstacle = obstacle
        situation.replica = Sequence(rawValue: 2)
        #expect(situation.nextAction == .refuse(requested.id, Reason(obstacle)))
    }

    @Test func aSwitchToAnotherDeviceIsNoneOfOurs() throws {
        var situation = following()
        situation.server?.pendingSwitch = try pending(from: other, to: .random(), .requested)
        #expect(situation.nextAction == .wait)
    }

    @Test func aStandbyDropsWhatItCouldNotCommitInTime() {
        var situation = following()
        situation.outbox = [Sequence(rawValue: 8)]
        #expect(situation.nextAction == .drop(Sequence(rawValue: 8)))
    }

    // MARK: Never in two places

    @Test func aGuestThatRunsWithoutTheLeaseIsPausedWhateverElseIsToDo() throws {
        var situation = active()
        situation.server?.holder = other
        situation.outbox = [Sequence(rawValue: 8)]
        situation.checkpointIsDue = true
        #expect(situation.nextAction == .stepDown)
        situation.server?.holder = nil
        #expect(situation.nextAction == .stepDown)
    }

    /// Forced away, given back and taken again while this device heard nothing of it.
    @Test func aGuestThatRunsUnderAnotherEpochThanThatOfTheLeaseIsPaused() {
        var situation = active()
        situation.tenure = Epoch(rawValue: 2)
        #expect(situation.nextAction == .stepDown)
        situation.machine = .shutDown
        #expect(situation.nextAction == .stepDown)
        situation.tenure = Epoch(rawValue: 3)
        #expect(situation.nextAction == .sealOff)
    }

    @Test func whatWasMadeUnderAnotherEpochIsNotSentForEver() {
        var situation = active()
        situation.machine = .none
        situation.outbox = [Sequence(rawValue: 8)]
        situation.outboxEpoch = Epoch(rawValue: 2)
        #expect(situation.nextAction == .drop(Sequence(rawValue: 8)))
        situation.outboxEpoch = Epoch(rawValue: 3)
        #expect(situation.nextAction == .upload)
    }

    // MARK: Direct links

    @Test func whatTheHolderHasToSaveIsKeptByWhoHasItToo() throws {
        var situation = following()
        situation.replica = Sequence(rawValue: 9)
        situation.outbox = [Sequence(rawValue: 8), Sequence(rawValue: 9)]
        situation.outboxEpoch = Epoch(rawValue: 3)
        #expect(situation.nextAction == .wait)
        situation.machine = .none
        #expect(situation.nextAction == .prepare)
        situation.machine = .waiting
        // A switch over the server begins when the server has it.
        situation.server?.pendingSwitch = try pending(from: other, to: me, .requested)
        #expect(situation.nextAction == .wait)
        situation.server?.pendingSwitch = nil
        // It has come as far, or the VM has gone another way.
        situation.server?.head = Sequence(rawValue: 8)
        #expect(situation.nextAction == .drop(Sequence(rawValue: 8)))
        situation.server?.head = Sequence(rawValue: 7)
        // The one that got it has handed it on; but what was taken by force leaves all else behind.
        situation.server?.epoch = Epoch(rawValue: 5)
        #expect(situation.nextAction == .wait)
        situation.server?.epoch = Epoch(rawValue: 3).afterForce
        #expect(situation.nextAction == .drop(Sequence(rawValue: 8)))
        situation.server?.epoch = Epoch(rawValue: 2)
        #expect(situation.nextAction == .drop(Sequence(rawValue: 8)))
        situation.server?.epoch = Epoch(rawValue: 3)
        situation.server?.holder = nil
        #expect(situation.nextAction == .drop(Sequence(rawValue: 8)))
    }

    @Test func aVMThatWasHandedOverStartsWithoutTheServer() {
        var situation = active()
        situation.outbox = [Sequence(rawValue: 8)]
        situation.outboxEpoch = Epoch(rawValue: 3)
        situation.serverTakesNothing = true
        for machine in [DeviceSituation.Machine.none, .waiting] {
            situation.machine = machine
            situation.isHandedHere = true
            #expect(situation.nextAction == .goActive)
            situation.isHandedHere = false
            #expect(situation.nextAction == .upload)
        }
    }

    @Test func theServerHearsWhoHasTheVMAlsoIfNothingWaits() {
        var situation = active()
        situation.isHandoverUntold = true
        #expect(situation.nextAction == .upload)
        situation.serverTakesNothing = true
        #expect(situation.nextAction == .wait)
    }

    @Test func asManyWaitAsTheOutboxTakes() {
        var situation = active()
        situation.outbox = [8, 9, 10].map { Sequence(rawValue: $0) }
        situation.outboxEpoch = Epoch(rawValue: 3)
        situation.serverTakesNothing = true
        situation.checkpointIsDue = true
        #expect(situation.nextAction == .upload)
        situation.outboxMax = 3
        #expect(situation.nextAction == .keep)
    }

    @Test func aGuestHeldInADepartureGoesNowhereUntilTheServerIsAsked() {
        var situation = active()
        situation.machine = .held
        situation.startWanted = true
        situation.checkpointIsDue = true
        #expect(situation.nextAction == .settleDeparture)
        situation.server?.holder = other
        #expect(situation.nextAction == .settleDeparture)
    }

    /// The commit that ends a tenure must say so also when another daemon sends it, and QEMU is long gone.
    @Test func aDepartureIsSettledBeforeItsCheckpointIsUploadedLikeAnyOther() {
        var situation = active()
        situation.isDeparting = true
        situation.outbox = [Sequence(rawValue: 8)]
        for machine in [DeviceSituation.Machine.none, .died, .shutDown, .running, .held] {
            situation.machine = machine
            #expect(situation.nextAction == .settleDeparture)
        }
    }

    // MARK: Active

    @Test func whileTheServerIsAwayCheckpointsAreMadeAllTheSameAtTheirPace() {
        var situation = active()
        situation.outbox = [Sequence(rawValue: 8), Sequence(rawValue: 12)]
        situation.serverTakesNothing = true
        #expect(situation.nextAction == .upload)
        situation.checkpointIsDue = true
        #expect(situation.nextAction == .keep)
        situation.machine = .died
        #expect(situation.nextAction == .upload)
        situation.machine = .running
        situation.outbox.append(Sequence(rawValue: 13))
        #expect(situation.nextAction == .upload, "they could not be merged")
    }

    @Test func whatIsHeldBackIsKeptAndNotSent() {
        var situation = active()
        situation.isHeldBack = true
        #expect(situation.nextAction == .wait)
        situation.checkpointIsDue = true
        #expect(situation.nextAction == .keep)
        situation.outbox = [Sequence(rawValue: 8)]
        #expect(situation.nextAction == .keep)
        situation.checkpointIsDue = false
        #expect(situation.nextAction == .wait)
        situation.isHeldBack = false
        #expect(situation.nextAction == .upload)
    }

    @Test func aSwitchIsDeclinedByWhoeverHasUsedUpACap() throws {
        let cap = VMSyncError(.wrongState, "the cap is used up")
        for state in [SwitchState.requested, .ready] {
            var situation = active()
            let leaving = try pending(from: me, to: other, state)
            situation.server?.pendingSwitch = leaving
            situation.capProblem = cap
            #expect(situation.nextAction == .declineHandOver(leaving.id, Reason(cap)))
            // Also while something waits that may not be sent.
            situation.outbox = [Sequence(rawValue: 8)]
            situation.isHeldBack = true
            #expect(situation.nextAction == .declineHandOver(leaving.id, Reason(cap)))
            situation.outbox = []
            situation.capProblem = nil
            #expect(situation.nextAction != .declineHandOver(leaving.id, Reason(cap)))
        }
        var target = following()
        let coming = try pending(from: other, to: me, .requested)
        target.server?.pendingSwitch = coming
        target.capProblem = cap
        #expect(target.nextAction == .refuse(coming.id, Reason(cap)))
    }

    @Test func aGuestThatHasShutDownWaitsWhereNothingMayBeSent() {
        var situation = active()
        situation.machine = .shutDown
        situation.isHeldBack = true
        #expect(situation.nextAction == .wait)
        situation.isHeldBack = false
        #expect(situation.nextAction == .sealOff)
    }

    @Test func aGuestOfAnEpochThatIsOverStopsAndWhatItDidIsKept() {
        var situation = following()
        situation.machine = .running
        #expect(situation.nextAction == .stepDown)
        // Also where the lease has come back meanwhile: what runs here isn't what the VM has become.
        situation.server?.holder = me
        situation.tenure = Epoch(rawValue: 2)
        #expect(situation.nextAction == .stepDown)
        situation.tenure = Epoch(rawValue: 3)
        #expect(situation.nextAction == .wait)
        for machine in [DeviceSituation.Machine.none, .died, .shutDown, .running, .held] {
            situation.machine = machine
            situation.isFenced = true
            #expect(situation.nextAction == .keepLateWork)
        }
        situation.server = nil
        #expect(situation.nextAction == .wait)
    }

    @Test func aStandbyThatIsHeldBackFetchesNothingAndStaysReady() {
        var situation = following()
        situation.isHeldBack = true
        #expect(situation.nextAction == .wait)
        situation.server?.head = Sequence(rawValue: 9)
        #expect(situation.nextAction == .wait)
        situation.isHeldBack = false
        #expect(situation.nextAction == .applyNext)
        situation.hasBase = false
        situation.isHeldBack = true
        #expect(situation.nextAction == .wait)
        // What was lost must be found out, whatever it costs then.
        situation.hasBase = true
        situation.machine = .running
        #expect(situation.nextAction == .stepDown)
    }

    @Test func thePaceOfAnOutageIsThatOfManyIntervalsAndOfAnIdleProcessor() {
        let second = Duration.seconds(1)
        #expect(OutagePace.rest(after: .zero, interval: second) == .seconds(10))
        #expect(OutagePace.rest(after: .milliseconds(400), interval: second) == .seconds(10))
        #expect(OutagePace.rest(after: .seconds(3), interval: second) == .seconds(60))
    }

    @Test func whatIsSealedGoesOutBeforeTheNextCheckpoint() {
        var situation = active()
        situation.checkpointIsDue = true
        situation.outbox = [Sequence(rawValue: 8)]
        #expect(situation.nextAction == .upload)
        situation.outbox = [Sequence(rawValue: 7)]
        #expect(situation.nextAction == .drop(Sequence(rawValue: 7)))
        situation.outbox = []
        #expect(situation.nextAction == .checkpoint)
        situation.checkpointIsDue = false
        #expect(situation.nextAction == .wait)
    }

    @Test func theVMIsHandedOverOnlyToATargetThatIsReady() throws {
        var situation = active()
        situation.server?.pendingSwitch = try pending(from: me, to: other, .requested)
        #expect(situation.nextAction == .wait)
        let ready = try pending(from: me, to: other, .ready)
        situation.server?.pendingSwitch = ready
        #expect(situation.nextAction == .handOver(ready.id))
    }

    @Test func beforeItIsHandedOverCheckpointsComeNearerWhileItRuns() throws {
        var situation = active()
        situation.approach = .anotherRound
        let ready = try pending(from: me, to: other, .ready)
        situation.server?.pendingSwitch = ready
        #expect(situation.nextAction == .checkpoint)
        // Commits are taken in order: what waits goes first.
        situation.outbox = [Sequence(rawValue: 8)]
        #expect(situation.nextAction == .upload)
        situation.outbox = []
        situation.approach = .lastCheckpoint
        #expect(situation.nextAction == .handOver(ready.id))
        // What is still on its way to the target comes first, but not for ever.
        situation.approach = .wait
        situation.checkpointIsDue = false
        #expect(situation.nextAction == .wait)
        situation.checkpointIsDue = true
        #expect(situation.nextAction == .checkpoint)
        situation.checkpointIsDue = false
        // A target that isn't ready is not to be kept busy.
        situation.approach = .anotherRound
        situation.server?.pendingSwitch = try pending(from: me, to: other, .requested)
        #expect(situation.nextAction == .wait)
    }

    @Test func aSwitchThatMovedHereIsFinishedAlsoByADaemonThatKnowsNothingOfIt() throws {
        var situation = active()
        situation.server?.pendingSwitch = try pending(from: other, to: me, .moved)
        for machine in [DeviceSituation.Machine.none, .waiting] {
            situation.machine = machine
            situation.replica = Sequence(rawValue: 7)
            #expect(situation.nextAction == .goActive)
            situation.replica = Sequence(rawValue: 6)
            #expect(situation.nextAction == .applyNext)
        }
    }

    @Test func aVMThatCrashedStartsOnlyWhenAsked() {
        var situation = active()
        situation.machine = .died
        situation.replica = nil
        #expect(situation.nextAction == .wait)
        situation.startWanted = true
        #expect(situation.nextAction == .rebuild)
        situation.replica = Sequence(rawValue: 7)
        #expect(situation.nextAction == .goActive)
    }

    @Test func aGuestThatShutItselfDownIsSavedAndGivesTheLeaseBack() {
        var situation = active()
        situation.machine = .shutDown
        #expect(situation.nextAction == .sealOff)
        situation.outbox = [Sequence(rawValue: 8)]
        #expect(situation.nextAction == .upload)
    }
}
