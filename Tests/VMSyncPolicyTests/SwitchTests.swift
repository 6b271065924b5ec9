import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy

@Suite struct SwitchTests {
    /// The laptop is active, and a switch to the desktop is requested.
    static func requested() throws -> (LeaseFixture, SwitchID) {
        var lease = try LeaseFixture.active()
        let id = SwitchID.random()
        _ = try lease.state.requestSwitch(id, to: lease.desktop, at: lease.noon)
        return (lease, id)
    }

    static let reason = Data("no such CPU model".utf8)

    @Test func aSwitchMovesTheLeaseWithItsCommit() throws {
        var (lease, id) = try Self.requested()
        _ = try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon)
        _ = try lease.state.commit(lease.offer(1, then: .move(id)), by: lease.laptop, known: nil, at: lease.noon)
        #expect(lease.state.holder == lease.desktop)
        #expect(lease.state.epoch == Epoch(rawValue: 2))
        #expect(lease.state.lastSwitch?.state == .moved)
        #expect(try lease.state.answer(.done, to: id, by: lease.desktop, at: lease.noon).state == .done)
    }

    /// The laptop has handed the VM over by the switch, and the desktop hasn't said yet that it runs.
    static func moved() throws -> (LeaseFixture, SwitchID) {
        var (lease, id) = try Self.requested()
        _ = try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon)
        _ = try lease.state.commit(lease.offer(1, then: .move(id)), by: lease.laptop, known: nil, at: lease.noon)
        return (lease, id)
    }

    @Test func aTargetThatGivesTheLeaseBackEndsItsSwitch() throws {
        var (lease, _) = try Self.moved()
        try lease.state.release(by: lease.desktop, epoch: Epoch(rawValue: 2))
        #expect(lease.state.lastSwitch?.state == .failed)
    }

    @Test func aTargetWhoseLeaseIsTakenByForceEndsItsSwitch() throws {
        var (lease, _) = try Self.moved()
        _ = try lease.state.acquire(by: lease.laptop, force: true)
        #expect(lease.state.lastSwitch?.state == .failed)
        _ = try lease.state.requestSwitch(.random(), to: lease.desktop, at: lease.noon)
    }

    @Test func aTargetThatSavesACheckpointHasArrived() throws {
        for then in [AfterCommit.keep, .release] {
            var (lease, _) = try Self.moved()
            let offer = CommitOffer(
                epoch: Epoch(rawValue: 2), sequence: Sequence(rawValue: 2), parent: Sequence(rawValue: 1), kind: .live,
                size: 1, checksum: ContentHash(digest: [UInt8](repeating: 2, count: 32)), then: then)
            _ = try lease.state.commit(offer, by: lease.desktop, known: nil, at: lease.noon)
            #expect(lease.state.lastSwitch?.state == .done)
        }
    }

    @Test func aClockThatWasSetBackDoesNotMakeASwitchLast() throws {
        var (lease, _) = try Self.requested()
        let before = Timestamp(rawValue: lease.noon.rawValue - 60_000)
        lease.state.settle(at: before + .milliseconds(1))
        #expect(lease.state.lastSwitch?.state == .requested)
        lease.state.settle(at: before)
        #expect(lease.state.lastSwitch?.state == .expired)
    }

    @Test func beforeTheTargetIsReadyACommitCanNotMoveTheLease() throws {
        var (lease, id) = try Self.requested()
        let before = lease.state
        #expect(
            code {
                _ = try lease.state.commit(
                    lease.offer(1, then: .move(id)), by: lease.laptop, known: nil, at: lease.noon)
            }
                == .wrongState)
        #expect(
            code {
                _ = try lease.state.commit(
                    lease.offer(1, then: .move(.random())), by: lease.laptop, known: nil, at: lease.noon)
            }
                == .notFound)
        #expect(lease.state == before)
    }

    @Test func aSwitchNeedsAHolderAndAnotherDevice() throws {
        var lease = LeaseFixture()
        #expect(code { _ = try lease.state.requestSwitch(.random(), to: lease.desktop, at: lease.noon) } == .wrongState)
        lease = try LeaseFixture.active()
        #expect(code { _ = try lease.state.requestSwitch(.random(), to: lease.laptop, at: lease.noon) } == .wrongState)
    }

    @Test func onlyOneSwitchIsOpenAtATimeAndTheRefusalNamesIt() throws {
        var (lease, id) = try Self.requested()
        do {
            _ = try lease.state.requestSwitch(.random(), to: lease.desktop, at: lease.noon)
            Issue.record("a second switch was opened")
        } catch {
            #expect(error.code == .leaseHeld)
            #expect(error.message.contains(id.rawValue))
        }
    }

    @Test func aSwitchForWhichADeviceWorksStaysOpen() throws {
        var (lease, id) = try Self.requested()
        let late = lease.noon + .seconds(50)
        _ = try lease.state.answer(.report([:]), to: id, by: lease.desktop, at: late)
        lease.state.settle(at: lease.noon + SwitchRecord.openMax)
        #expect(lease.state.lastSwitch?.state == .requested)
        _ = try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: late)
        let later = late + .seconds(50)
        _ = try lease.state.answer(.report([:]), to: id, by: lease.laptop, at: later)
        lease.state.settle(at: late + SwitchRecord.openMax)
        #expect(lease.state.lastSwitch?.state == .ready)
        lease.state.settle(at: later + SwitchRecord.openMax)
        #expect(lease.state.lastSwitch?.state == .expired)
    }

    @Test func aSourceThatIsWellDoesNotKeepASwitchToADeadTargetOpen() throws {
        var (lease, id) = try Self.requested()
        let late = lease.noon + .seconds(50)
        _ = try lease.state.answer(.report([:]), to: id, by: lease.laptop, at: late)
        _ = try lease.state.commit(lease.offer(1), by: lease.laptop, known: nil, at: late)
        lease.state.settle(at: lease.noon + SwitchRecord.openMax)
        #expect(lease.state.lastSwitch?.state == .expired)
    }

    @Test func theLastCheckpointOfAColdSwitchMovesTheLease() throws {
        var lease = try LeaseFixture.active()
        let id = SwitchID.random()
        let asked = try lease.state.requestSwitch(id, to: lease.desktop, isCold: true, at: lease.noon)
        #expect(asked.isCold)
        _ = try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon)
        _ = try lease.state.commit(
            lease.offer(1, kind: .off, then: .move(id)), by: lease.laptop, known: nil, at: lease.noon)
        #expect(lease.state.holder == lease.desktop)
        #expect(lease.state.lastSwitch?.isArriving(at: lease.desktop) == true)
    }

    @Test func anUnmovedSwitchExpiresAfterSixtySecondsAndBarsNothing() throws {
        var (lease, id) = try Self.requested()
        _ = try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon)
        lease.state.settle(at: lease.noon + .milliseconds(59_999))
        #expect(lease.state.lastSwitch?.state == .ready)
        let late = lease.noon + SwitchRecord.openMax
        lease.state.settle(at: late)
        #expect(lease.state.lastSwitch?.state == .expired)
        #expect(
            code { _ = try lease.state.commit(lease.offer(1, then: .move(id)), by: lease.laptop, known: nil, at: late) }
                == .wrongState)
        _ = try lease.state.requestSwitch(.random(), to: lease.desktop, at: late)
    }

    @Test func aMovedSwitchWhoseTargetFailedLeavesTheLeaseThereAndTheVMCanBeSwitchedAgain() throws {
        var (lease, id) = try Self.requested()
        _ = try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon)
        _ = try lease.state.commit(lease.offer(1, then: .move(id)), by: lease.laptop, known: nil, at: lease.noon)
        #expect(
            code { _ = try lease.state.answer(.fail(Self.reason), to: id, by: lease.laptop, at: lease.noon) }
                == .wrongState)
        let failed = try lease.state.answer(.fail(Self.reason), to: id, by: lease.desktop, at: lease.noon)
        #expect(failed.state == .failed && failed.reason == Self.reason)
        #expect(lease.state.holder == lease.desktop)
        _ = try lease.state.requestSwitch(.random(), to: lease.laptop, at: lease.noon)
    }

    @Test func eachActionBelongsToItsSideAndMayBeRepeated() throws {
        var (lease, id) = try Self.requested()
        for answer in [SwitchAnswer.ready(at: .base), .refuse(Self.reason), .done] {
            #expect(
                code { _ = try lease.state.answer(answer, to: id, by: lease.laptop, at: lease.noon) } == .wrongState)
        }
        #expect(code { _ = try lease.state.answer(.done, to: id, by: lease.desktop, at: lease.noon) } == .wrongState)
        #expect(
            code { _ = try lease.state.answer(.ready(at: .base), to: .random(), by: lease.desktop, at: lease.noon) }
                == .notFound)
        let once = try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon)
        #expect(try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon) == once)
        #expect(once.held == .base)
        let beyond = Sequence(rawValue: lease.state.headSequence.rawValue + 1)
        #expect(
            code { _ = try lease.state.answer(.ready(at: beyond), to: id, by: lease.desktop, at: lease.noon) }
                == .invalidInput)
        _ = try lease.state.commit(lease.offer(1), by: lease.laptop, known: nil, at: lease.noon)
        let further = try lease.state.answer(.ready(at: beyond), to: id, by: lease.desktop, at: lease.noon)
        #expect(further.state == .ready && further.held == beyond)
        #expect(try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon).held == beyond)
        let refused = try lease.state.answer(.refuse(Self.reason), to: id, by: lease.desktop, at: lease.noon)
        #expect(refused.state == .refused)
        #expect(
            code { _ = try lease.state.answer(.ready(at: .base), to: id, by: lease.desktop, at: lease.noon) }
                == .wrongState)
    }

    @Test func bothSidesReportStepsUpToALimitAndStrangersDoNot() throws {
        var (lease, id) = try Self.requested()
        _ = try lease.state.answer(.report(["pause": 2, "send": 5]), to: id, by: lease.laptop, at: lease.noon)
        let merged = try lease.state.answer(.report(["send": 6, "load": 9]), to: id, by: lease.desktop, at: lease.noon)
        #expect(merged.steps == ["pause": 2, "send": 6, "load": 9])
        #expect(
            code { _ = try lease.state.answer(.report(["x": 1]), to: id, by: .random(), at: lease.noon) } == .wrongState
        )
        let many = Dictionary(uniqueKeysWithValues: (0..<62).map { ("step\($0)", 1.0) })
        #expect(
            code { _ = try lease.state.answer(.report(many), to: id, by: lease.laptop, at: lease.noon) }
                == .invalidInput)
    }

    @Test func anOpenSwitchFailsWhenItsSourceGivesUpTheLease() throws {
        var (lease, _) = try Self.requested()
        _ = try lease.state.commit(lease.offer(1, then: .release), by: lease.laptop, known: nil, at: lease.noon)
        #expect(lease.state.lastSwitch?.state == .failed)
        #expect(lease.state.holder == nil)
    }
}
