import Testing
import VMSyncPolicy

@Suite struct FailoverTests {
    private func view(
        _ limit: Double? = 30, silent: Bool = true, could: Bool = true, before: Int = 0
    ) -> FailoverWatch.View {
        .init(limit: limit, holderIsSilent: silent, couldTakeOver: could, before: before)
    }

    @Test func aStandbyTakesOverWhenTheActiveDeviceWasSilentForAllOfTheTime() {
        var watch = FailoverWatch()
        #expect(watch.note(view(), at: 100) == 30)
        #expect(watch.note(view(), at: 129) == 1)
        #expect(watch.note(view(), at: 130) == 0)
    }

    @Test func theTimeBeginsAnewWhenItWasHeard() {
        var watch = FailoverWatch()
        _ = watch.note(view(), at: 0)
        #expect(watch.note(view(silent: false), at: 29) == nil)
        #expect(watch.note(view(), at: 31) == 30)
    }

    @Test func whoCouldNotRunTheVMDoesNot() {
        var watch = FailoverWatch()
        #expect(watch.note(view(could: false), at: 0) == nil)
        // It has caught up meanwhile, and the silence counts.
        #expect(watch.note(view(), at: 40) == 0)
    }

    @Test func ofSeveralTheFirstTakesItsTurn() {
        var watch = FailoverWatch()
        _ = watch.note(view(before: 2), at: 0)
        #expect(watch.note(view(before: 2), at: 30) == 10)
        #expect(watch.note(view(before: 0), at: 30) == 0)
    }

    @Test func itIsOffUnlessItWasAskedFor() {
        var watch = FailoverWatch()
        #expect(watch.note(view(nil), at: 0) == nil)
        #expect(watch.note(view(nil), at: 1e6) == nil)
        #expect(SyncPolicy().failover == nil)
    }
}
