import Testing
import VMSyncCore
import VMSyncPolicy

/// When the source of a switch goes on coming nearer, and when it hands over.
@Suite("The approach to a switch")
struct SwitchApproachTests {
    private func near(after milliseconds: Int...) -> Bool {
        var approach = SwitchApproach(.random())
        for (number, round) in milliseconds.enumerated() {
            approach.note(.milliseconds(round), sent: Sequence(rawValue: UInt64(number)))
        }
        return approach.next == .lastCheckpoint
    }

    @Test("a target that has more than one round to fetch is waited for")
    func packsDoNotPileUp() {
        var approach = SwitchApproach(.random())
        approach.noteTarget(holds: Sequence(rawValue: 4))
        approach.note(.milliseconds(400), sent: Sequence(rawValue: 5))
        #expect(approach.next == .anotherRound)
        approach.note(.milliseconds(50), sent: Sequence(rawValue: 6))
        #expect(approach.next == .wait)
        approach.noteTarget(holds: Sequence(rawValue: 5))
        #expect(approach.next == .lastCheckpoint)
        approach.noteTarget(holds: Sequence(rawValue: 6))
        #expect(approach.next == .lastCheckpoint)
    }

    @Test func theFirstRoundIsAlwaysMade() { #expect(!near()) }

    @Test func roundsGoOnWhileTheyGetShorter() {
        #expect(!near(after: 400))
        #expect(!near(after: 400, 300))
        #expect(!near(after: 400, 300, 200))
    }

    @Test func aShortRoundIsEnough() {
        #expect(near(after: 60))
        #expect(near(after: 400, 50))
    }

    @Test func aRoundThatIsHardlyShorterIsTheLast() {
        #expect(!near(after: 400, 320))
        #expect(near(after: 400, 321))
        #expect(near(after: 400, 500))
        #expect(near(after: 400, 300, 310))
    }

    @Test func aLongRoundIsABadMoment() {
        #expect(!near(after: 400, 501))
        #expect(!near(after: 400, 300, 600))
        #expect(near(after: 400, 300, 600, 310))
    }

    @Test func aGuestThatWritesFastIsNotFollowedForEver() {
        // Each by a quarter shorter than the one before.
        #expect(!near(after: 400, 300, 225, 169, 127))
        #expect(near(after: 400, 300, 225, 169, 127, 95))
    }

    @Test func overASlowLinkNobodyWaitsForMoreRounds() {
        #expect(near(after: 30_000))
        #expect(near(after: 1500, 700))
    }

    @Test func aFailureEndsIt() {
        var approach = SwitchApproach(.random())
        approach.noteFailure()
        #expect(approach.next == .lastCheckpoint)
    }

    @Test func anApproachGoesOnWithItsSwitchAndEndsWithIt() throws {
        let (source, target) = (DeviceID.random(), DeviceID.random())
        var lease = LeaseState(vm: .random(), epoch: Epoch(rawValue: 1), holder: source)
        let pending = try lease.requestSwitch(.random(), to: target, at: Timestamp(rawValue: 0))
        #expect(SwitchApproach.following(nil, pending, from: target) == nil)
        var approach = try #require(SwitchApproach.following(nil, pending, from: source))
        approach.note(.seconds(1), sent: Sequence(rawValue: 1))
        #expect(SwitchApproach.following(approach, pending, from: source) == approach)
        let ready = try lease.answer(.ready(at: .base), to: pending.id, by: target, at: Timestamp(rawValue: 0))
        let told = SwitchApproach.following(approach, ready, from: source)
        #expect(told?.id == pending.id && told != approach, "it knows what the target holds")
        #expect(SwitchApproach.following(approach, nil, from: source) == nil)
        let failed = try lease.answer(.fail(.init()), to: pending.id, by: target, at: Timestamp(rawValue: 0))
        #expect(SwitchApproach.following(approach, failed, from: source) == nil)
        let next = try lease.requestSwitch(.random(), to: target, at: Timestamp(rawValue: 0))
        #expect(SwitchApproach.following(approach, next, from: source) == SwitchApproach(next.id))
    }
}
