import Testing
import VMSyncPolicy

@Suite struct WatchTests {
    @Test func aDeviceIsBusyUntilItHasRoomAgain() {
        var watch = BusyWatch()
        var seen: [Bool] = []
        for load in [0.1, 0.39, 0.4, 0.3, 0.21, 0.2, 0.39] {
            watch.note(load)
            seen.append(watch.isBusy)
        }
        #expect(seen == [false, false, true, true, true, false, false])
    }

    @Test func aGuestComesToRestOnceAfterItHasWorked() {
        var watch = QuietWatch()
        var rests: [Double] = []
        let growths: [Double] = [0, 0, 0, 0, 200_000, 300_000, 5000, 50_000, 9000, 9000, 9000, 9000, 0, 0, 0, 0]
        for (index, growth) in growths.enumerated() where watch.note(growth: growth, at: Double(index)) {
            rests.append(Double(index))
        }
        // Quiet from 8 on; 6 was followed by work.
        #expect(rests == [10])
    }
}
