import HostSignals
import Testing

@Suite("Sleep, by signals and clocks") struct SleepWatchTests {
    private var watch = SleepWatch(HostClocks(awake: .seconds(100), all: .seconds(1100)))

    private func clocks(awake: Int, slept: Int) -> HostClocks {
        HostClocks(awake: .seconds(100 + awake), all: .seconds(1100 + awake + slept))
    }

    @Test mutating func whatWasSleptBeforeIsNotTold() { #expect(watch.note(clocks(awake: 5, slept: 0)) == []) }

    @Test mutating func theClocksAloneTellThatTheHostSlept() {
        #expect(watch.note(clocks(awake: 5, slept: 3600)) == [.woke(after: .seconds(3600))])
        #expect(watch.note(clocks(awake: 10, slept: 3600)) == [])
        #expect(watch.note(clocks(awake: 15, slept: 3601)) == [.woke(after: .seconds(1))])
    }

    @Test mutating func lessThanASecondIsNoSleep() {
        let moment = HostClocks(awake: .seconds(105), all: .seconds(1105) + .milliseconds(999))
        #expect(watch.note(moment) == [])
    }

    @Test mutating func signalsThatComeTwiceCountOnce() {
        #expect(watch.note(preparingForSleep: true, clocks(awake: 1, slept: 0)) == [.willSleep])
        #expect(watch.note(preparingForSleep: true, clocks(awake: 1, slept: 0)) == [])
        #expect(watch.note(preparingForSleep: false, clocks(awake: 2, slept: 60)) == [.woke(after: .seconds(60))])
        #expect(watch.note(preparingForSleep: false, clocks(awake: 2, slept: 60)) == [])
    }

    @Test mutating func theClocksMayBeBeforeTheSignal() {
        _ = watch.note(preparingForSleep: true, clocks(awake: 1, slept: 0))
        #expect(watch.note(clocks(awake: 2, slept: 60)) == [.woke(after: .seconds(60))])
        #expect(watch.note(preparingForSleep: false, clocks(awake: 2, slept: 60)) == [])
    }

    @Test mutating func aSleepThatDidNotHappenIsOverToo() {
        _ = watch.note(preparingForSleep: true, clocks(awake: 1, slept: 0))
        #expect(watch.isGoingToSleep)
        #expect(watch.note(preparingForSleep: false, clocks(awake: 2, slept: 0)) == [.woke(after: .zero)])
        #expect(!watch.isGoingToSleep)
    }

    @Test mutating func aWakingThatWasMissedIsToldBeforeTheNextSleep() {
        let changes = watch.note(preparingForSleep: true, clocks(awake: 1, slept: 60))
        #expect(changes == [.woke(after: .seconds(60)), .willSleep])
    }

    @Test mutating func aWakingWithoutASleepSaysNothing() {
        #expect(watch.note(preparingForSleep: false, clocks(awake: 1, slept: 0)) == [])
    }

    @Test mutating func aShutdownIsToldOnce() {
        #expect(watch.note(preparingForShutdown: false) == [])
        #expect(watch.note(preparingForShutdown: true) == [.willShutDown])
        #expect(watch.note(preparingForShutdown: true) == [] && watch.isGoingDown)
        #expect(watch.note(preparingForShutdown: false) == [.shutdownCancelled])
    }

    @Test func theKernelsClocksGoOn() {
        let (first, now) = (HostClocks.now(), HostClocks.now())
        #expect(first.awake <= now.awake && first.all <= now.all && now.awake <= now.all)
    }
}
