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

    @Test func aRoundThatWouldTakeLongerThanALongOneIsNotBegun() {
        var approach = SwitchApproach(.random())
        approach.noteNextRound(1000, after: 0)
        #expect(approach.next == .anotherRound, "the first one")
        approach.note(.seconds(100), sent: Sequence(rawValue: 1))
        approach.noteNextRound(79, after: 0)
        #expect(approach.next == .anotherRound)
        approach.noteNextRound(81, after: 0)
        #expect(approach.next == .lastCheckpoint)
        var quick = SwitchApproach(.random())
        quick.note(.milliseconds(400), sent: Sequence(rawValue: 1))
        quick.noteNextRound(10, after: 0)
        #expect(quick.next == .anotherRound, "a bad moment, over a fast link")
    }

    @Test func aGuestThatWritesAsFastAsASlowLinkCarriesStopsAtOnce() {
        var approach = SwitchApproach(.random())
        approach.noteNextRound(25, after: 19)
        #expect(approach.next == .anotherRound)
        approach.noteNextRound(25, after: 21)
        #expect(approach.next == .lastCheckpoint)
        approach.noteNextRound(1.9, after: 100)
        #expect(approach.next == .anotherRound, "a round of a fast link costs little")
    }

    @Test func aGuestThatOutrunsWhatIsOnItsWayStandsStill() {
        var approach = SwitchApproach(.random())
        approach.noteSending(25, after: 100)
        #expect(!approach.holdsGuest, "the target isn't ready")
        approach.noteTarget(holds: .base)
        approach.noteSending(25, after: 19)
        approach.noteSending(1.9, after: 100)
        #expect(!approach.holdsGuest && approach.next == .anotherRound)
        approach.noteSending(25, after: 21)
        #expect(approach.holdsGuest && approach.next == .lastCheckpoint)
        // Nothing is written now.
        approach.noteSending(25, after: 0)
        #expect(approach.holdsGuest)
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

    @Test func nobodyWaitsLongForRoundsThatSpareTheGuestLittle() {
        #expect(near(after: 1500, 700))
        #expect(near(after: 30_000, 1900))
    }

    @Test func overASlowLinkTheGuestRunsOnAsLongAsThatBringsTheEndNearer() {
        #expect(!near(after: 30_000), "that was the backlog")
        #expect(!near(after: 30_000, 20_000))
        #expect(near(after: 30_000, 25_000), "hardly nearer")
        #expect(near(after: 30_000, 60_000), "no nearer")
    }

    @Test func aPromiseLeavesTimeForMoreRoundsOrNot() {
        /// 100 KB wait to be sent at 100 KB/s each way, half a second comes on top, and the guest writes 80 KB/s.
        /// Now: 0.5 + 2 s. With a round first: 1 s, then 0.5 + 1.6 s.
        func isNear(left: Double) -> Bool {
            var unsent = SyncSignals.Unsent()
            unsent.waiting = 100_000
            unsent.growth = Estimate(80_000)
            let link = LinkSummary(overhead: 0, goodput: 100_000)
            var approach = SwitchApproach(.random())
            approach.noteTime(left: left, SwitchForecast(up: link, fixed: Estimate(0.5)), unsent)
            return approach.next == .lastCheckpoint
        }
        #expect(!isNear(left: 3.2), "there is time for both")
        #expect(isNear(left: 2.8), "only for the last one")
        #expect(!isNear(left: 2.4), "it is broken in any case, so the guest runs on")
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
