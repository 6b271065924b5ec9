import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy

@Suite struct TransferModelTests {
    @Test(arguments: [
        (overhead: 0.01, goodput: 46_875.0), (0.3, 1e6), (0.05, 10_000), (0.005, 50e6),
    ])
    func overheadAndGoodputAreFoundInMixedTransfers(overhead: Double, goodput: Double) throws {
        var model = TransferModel()
        for bytes in [2000, 30_000, 1500, 400_000, 900, 80_000, 2500, 1200, 5_000_000] {
            model.note(bytes: bytes, seconds: overhead + Double(bytes) / goodput)
        }
        let found = try #require(model.goodput)
        #expect(abs(found / goodput - 1) < 0.1, "\(found)")
        #expect(abs(model.overhead - overhead) < 0.02 + overhead * 0.3, "\(model.overhead)")
    }

    @Test func aLinkThatChangesIsFollowed() throws {
        var model = TransferModel()
        for _ in 0..<50 { model.note(bytes: 100_000, seconds: 0.02 + 0.01) }
        for _ in 0..<10 { model.note(bytes: 100_000, seconds: 0.02 + 2) }
        let slow = try #require(model.goodput)
        #expect((40_000...70_000).contains(slow), "\(slow)")
    }

    @Test func aGuessIsHighEnoughNineteenTimesInTwenty() {
        var model = TransferModel()
        var random = SeededGenerator(state: 7)
        var kept = 0
        for number in 0..<1000 {
            let bytes = Int.random(in: 1000...200_000, using: &random)
            let seconds = (0.01 + Double(bytes) / 50_000) * Double.random(in: 0.8...1.25, using: &random)
            if number >= 100, seconds <= model.link.seconds(for: Double(bytes)).high { kept += 1 }
            model.note(bytes: bytes, seconds: seconds)
        }
        #expect(kept >= 855, "\(kept) of 900")
    }

    @Test func withoutTransfersALinkIsTakenForAUsualOne() {
        let model = TransferModel()
        #expect(model.goodput == nil)
        #expect(abs(model.link.seconds(for: 1e6).mean - 1.02) < 0.01)
    }

    @Test func onlyWhatWasLargeTellsOfTheLink() {
        var model = TransferModel()
        #expect(model.link.isGuessed)
        for _ in 0..<20 { model.note(bytes: 2_000, seconds: 0.06) }
        #expect(model.link.isGuessed)
        model.note(bytes: 65_536, seconds: 1.4)
        #expect(!model.link.isGuessed)
        for _ in 0..<20 { model.note(bytes: 2_000, seconds: 0.06) }
        #expect(!model.link.isGuessed && model.link.goodput < 60_000, "it is remembered")
    }

    @Test func nonsenseIsNotTakenIn() {
        var model = TransferModel()
        let before = model
        model.note(bytes: 100, seconds: 0)
        model.note(bytes: -1, seconds: 1)
        model.note(bytes: 100, seconds: .nan)
        model.note(bytes: 100, seconds: .infinity)
        #expect(model == before)
    }

    @Test func transfersThatOnlyDifferByChanceGiveNoGoodput() {
        var model = TransferModel()
        for (bytes, seconds) in [(1000, 0.05), (1200, 0.04), (3000, 0.055), (1100, 0.03), (2500, 0.06)] {
            model.note(bytes: bytes, seconds: seconds)
        }
        #expect(model.goodput == nil)
        #expect(model.link.isPossible && model.link.seconds(for: 1000).mean > 0)
    }
}

@Suite struct SwitchForecastTests {
    @Test func theRoomIsWhatASwitchOfJustSoLongMoves() {
        let up = LinkSummary(overhead: 0.03, goodput: 46_875, error: 0.05)
        let down = LinkSummary(overhead: 0.03, goodput: 750_000, error: 0.05)
        let forecast = SwitchForecast(up: up, down: down, fixed: Estimate(0.2, deviation: 0.02))
        for promise in [1.0, 5, 20] {
            let room = forecast.room(within: promise)
            #expect(room > 0)
            #expect(abs(forecast.seconds(unsent: room).high - promise) < 1e-6)
        }
        #expect(forecast.room(within: 0.2) < 0)
        // Up at 47 KB/s, and then down again.
        #expect((15_000...46_875).contains(forecast.room(within: 1)))
    }

    @Test func overALinkOfWhichNothingIsKnownLittleIsLeftUnsent() {
        let guessed = SwitchForecast(up: TransferModel().link)
        #expect(guessed.room(within: 60) == LinkSummary.guessedMax)
        #expect(guessed.room(within: 0.1) < 0)
        var known = TransferModel()
        known.note(bytes: 1_000_000, seconds: 1.02)
        #expect(SwitchForecast(up: known.link).room(within: 60) > 10 * LinkSummary.guessedMax)
    }

    @Test func whatIsUnsentMayBeGuessedItself() {
        let forecast = SwitchForecast(up: TransferModel().link, fixed: Estimate(0.1))
        let sure = forecast.seconds(unsent: Estimate(1e6))
        let unsure = forecast.seconds(unsent: Estimate(1e6, deviation: 5e5))
        #expect(sure.mean == unsure.mean)
        #expect(abs(unsure.high - sure.high - 2) < 1e-6)
    }
}

@Suite struct UnsentModelTests {
    @Test func looksAreCorrectedByWhatPacksCameTo() throws {
        var model = UnsentModel()
        #expect(model.written == nil)
        var now = 0.0
        for _ in 0..<20 {
            now += 1
            model.noteLook(100_000, at: now)
            model.notePack(40_600, at: now)
        }
        model.noteLook(50_000, at: now + 1)
        let written = try #require(model.written)
        #expect(abs(written.mean - 20_600) < 10)
        #expect(written.high < 22_000)
    }

    @Test func growthIsBytesASecondBetweenLooks() {
        var model = UnsentModel()
        for tick in 0..<40 { model.noteLook(Double(tick) * 250, at: Double(tick) * 0.25) }
        #expect(abs(model.growthPerSecond.mean - 1000) < 1)
        #expect(model.growthPerSecond.deviation < 1)
    }

    @Test func aBurstIsRememberedForAWhile() {
        var model = UnsentModel()
        model.noteLook(0, at: 0)
        model.noteLook(300_000, at: 0.25)
        model.noteLook(301_000, at: 0.5)
        #expect(model.burst > 290_000 && model.burst < 300_000)
        // Not what a pack took with it.
        model.notePack(301_000, at: 0.5)
        model.noteLook(1000, at: 20.25)
        #expect(abs(model.burst - 150_000) < 5000)
        model.noteLook(500_000, at: 20.5)
        #expect(model.burst > 400_000)
    }

    @Test func aPackEndsWhatWasWritten() throws {
        var model = UnsentModel()
        model.noteLook(1e6, at: 1)
        model.notePack(500_000, at: 1)
        #expect(try #require(model.written).mean < 1000)
    }
}

@Suite struct TrafficLedgerTests {
    private func date(_ day: Int, _ month: Int = 10) -> TrafficLedger.Date { .init(day: day, month: month) }

    @Test func bytesAreCountedByDayAndMonth() {
        var ledger = TrafficLedger(date(1))
        ledger.note(100, isMetered: true, at: date(1))
        ledger.note(50, isMetered: false, at: date(1))
        ledger.note(7, isMetered: false, at: date(2))
        let second = ledger.use(at: date(2))
        #expect(second.today.all == 7 && second.today.metered == 0 && second.month.all == 157)
        #expect(second.month.metered == 100)
        let next = ledger.use(at: date(31, 11))
        #expect(next.today.all == 0 && next.month.all == 0)
    }

    @Test func aCalendarThatIsSetBackSpendsNoCapTwice() {
        var ledger = TrafficLedger(date(5))
        ledger.note(100, isMetered: false, at: date(5))
        ledger.note(10, isMetered: false, at: date(3, 9))
        #expect(ledger.use(at: date(3, 9)).today.all == 110)
        #expect(ledger.use(at: date(5)).today.all == 110)
        #expect(ledger.use(at: date(6)).today.all == 0)
    }

    @Test func countsStopAtTheLargestNumber() {
        var ledger = TrafficLedger(date(1))
        ledger.note(.max, isMetered: false, at: date(1))
        ledger.note(.max, isMetered: false, at: date(1))
        #expect(ledger.use(at: date(1)).today.all == .max)
    }
}
