import Testing
import VMSyncCore
import VMSyncPolicy

@Suite struct SyncStandingTests {
    private func standing(
        _ values: [PolicyKey: String], _ change: (inout SyncSignals) -> Void
    ) throws -> SyncStanding {
        var layer = PolicyLayer()
        for (key, text) in values { try layer.set(key, text) }
        let policy = EffectivePolicy([(.vm, layer)]).policy
        let link = LinkSummary(overhead: 0.02, goodput: 10_000_000)
        var signals = SyncSignals(forecast: SwitchForecast(up: link, fixed: Estimate(0.2)))
        signals.sinceLast = 0.5
        signals.unsent.written = Estimate(12_000)
        change(&signals)
        return SyncStanding(SyncDecision.next(policy, signals), policy, signals)
    }

    @Test func itSaysWhatIsBehindAndWhatASwitchWouldTake() throws {
        let usual = try standing([:]) { _ in }
        #expect(usual.words == "syncing every 1s; 12 KB behind; a switch now would take about 0.2 s")
        let paused = try standing([.onMetered: "pause"]) {
            $0.isMetered = true
            $0.unsent.waiting = 40_988_000
        }
        #expect(paused.words == "paused: metered; 41 MB behind; a switch now would take about 8.4 s")
        // What waits takes half a second, in which the guest writes nearly as much again.
        let busy = try standing([:]) {
            $0.unsent.waiting = 5_000_000
            $0.unsent.growth = Estimate(9_000_000)
        }
        #expect(abs((busy.switchSeconds ?? 0) - (0.2 + 2 * (0.02 + 0.5 + 0.0012 + 0.9 * 0.52))) < 0.001)
        // Ten times that, and it would stand still.
        let outrun = try standing([:]) {
            $0.unsent.waiting = 50_000_000
            $0.unsent.growth = Estimate(9_000_000)
        }
        #expect(abs((outrun.switchSeconds ?? 0) - (0.2 + 2 * (0.02 + 5 + 0.0012))) < 0.001)
        let slow = try standing([:]) {
            $0.isMetered = true
            $0.sinceLast = 108
        }
        #expect(slow.words.hasPrefix("waiting: metered, at most every 5m, next in 3:12; 12 KB behind"))
        let capped = try standing([.capPerDay: "500MB"]) { $0.used.today.all = 500_000_000 }
        #expect(capped.words.hasPrefix("paused: the data cap of 500 MB a day is used up until midnight; "))
        #expect(capped.usedToday == 500_000_000)
        let idle = try standing([:]) {
            $0.unsent.hasChanged = false
            $0.unsent.written = nil
        }
        #expect(idle.words.hasPrefix("waiting: nothing was written since the last checkpoint; nothing behind; "))
    }

    @Test func aPromiseThatIsNotKeptIsNamedBeforehand() throws {
        let kept = try standing([.switchWithin: "1s"]) { _ in }
        #expect(kept.keepsPromise == true && kept.promiseSeconds == 1)
        let tooMuch = try standing([.switchWithin: "1s"]) { $0.unsent.written = Estimate(9e6) }
        #expect(tooMuch.keepsPromise == false && tooMuch.words.hasSuffix("; not within 1.0 s just now"))
        let perhaps = try standing([.switchWithin: "1s"]) { $0.unsent.written = Estimate(1e6, deviation: 5e6) }
        #expect(perhaps.promiseProblem == "not within 1.0 s just now" && perhaps.switchSeconds ?? 1 < 1)
        let growing = try standing([.switchWithin: "1s"]) {
            $0.unsent.growth = Estimate(20e6)
            $0.unsent.waiting = 2e6
        }
        #expect(growing.promiseProblem == "not within 1.0 s: the guest writes 20 MB/s, the link takes 10 MB/s")
        // It outruns the link, and isn't far ahead yet.
        let started = try standing([.switchWithin: "1s"]) { $0.unsent.growth = Estimate(20e6) }
        #expect(started.keepsPromise == true)
        #expect(
            started.words.hasSuffix("; within 1.0 s for now only: the guest writes 20 MB/s, the link takes 10 MB/s"))
        let bursting = try standing([.switchWithin: "1s"]) { $0.unsent.burst = 5e6 }
        #expect(bursting.promiseProblem == "not within 1.0 s for sure: the guest writes up to 5.0 MB at once")
        #expect(abs((bursting.switchSeconds ?? 1) - 0.2424) < 0.001, "what usually happens")
        #expect(try standing([.switchWithin: "1s"]) { $0.unsent.burst = 3e6 }.keepsPromise == true)
        let never = try standing([.switchWithin: "100ms"]) { _ in }
        #expect(never.promiseProblem?.contains("even with nothing to send") == true)
        let unknown = try standing([.switchWithin: "1s"]) {
            $0.forecast.up = TransferModel().link
            $0.unsent.written = Estimate(LinkSummary.guessedMax + 1)
        }
        #expect(unknown.promiseProblem == "not within 1.0 s for sure: how fast the link is isn't known yet")
        #expect(unknown.switchSeconds == nil && !unknown.words.contains("would take"))
        let unknownAndBusy = try standing([.switchWithin: "1s"]) {
            $0.forecast.up = TransferModel().link
            $0.unsent.written = Estimate(5e6)
            $0.unsent.growth = Estimate(20e6)
        }
        #expect(unknownAndBusy.promiseProblem?.hasSuffix("isn't known yet") == true)
        let none = try standing([:]) { _ in }
        #expect(none.keepsPromise == nil)
    }
}
