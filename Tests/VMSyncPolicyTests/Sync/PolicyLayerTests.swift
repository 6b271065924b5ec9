import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy

@Suite struct PolicyLayerTests {
    private func layer(_ values: [PolicyKey: String], places: [String: String] = [:]) throws -> PolicyLayer {
        var layer = PolicyLayer()
        for (key, text) in values { try layer.set(key, text) }
        for (place, text) in places { try layer.set(place: place, text) }
        return layer
    }

    @Test func laterLayersOutweighEarlierOnesAndEachValueNamesItsOwn() throws {
        let effective = EffectivePolicy([
            (.vm, try layer([.every: "5s", .onMetered: "pause", .capPerDay: "1GB"], places: ["home": "sync"])),
            (.device, try layer([.every: "10s", .capPerDay: "off"], places: ["home": "pause", "work": "1m"])),
            (.commandLine, try layer([.every: "250ms"])),
        ])
        #expect(effective.policy.every == 0.25 && effective.origin(.every) == .commandLine)
        #expect(effective.policy.onMetered == .pause && effective.origin(.onMetered) == .vm)
        #expect(effective.policy.capPerDay == nil && effective.origin(.capPerDay) == .device)
        #expect(effective.policy.isOnEvents && effective.origin(.events) == .builtIn)
        #expect(effective.policy.places == ["home": .pause, "work": .atMostEvery(60)])
        #expect(effective.placeOrigins == ["home": .device, "work": .device])
    }

    @Test func aPromiseMakesTimeALimitUnlessSomebodyNamedIt() throws {
        let promise = try layer([.switchWithin: "1s"])
        #expect(EffectivePolicy([(.vm, promise)]).policy.every == 60)
        #expect(EffectivePolicy([(.vm, promise), (.device, try layer([.every: "1s"]))]).policy.every == 1)
        #expect(EffectivePolicy([]).policy.every == 1)
    }

    @Test(arguments: [
        (PolicyKey.every, "0"), (.every, "1"), (.every, "-1s"), (.every, "8d"), (.every, "nan s"), (.every, "infs"),
        (.events, "yes"), (.onMetered, "never"), (.capPerDay, "-5MB"), (.capPerDay, "0"), (.capPerDay, "much"),
        (.capPerMonth, "1e30GB"), (.capScope, "some"), (.switchWithin, ""), (.failover, "9s"), (.startEarly, "1s"),
    ])
    func whatCannotBeMeantIsRefusedWithTheNameOfTheSetting(key: PolicyKey, text: String) {
        var layer = PolicyLayer()
        let error = #expect(throws: VMSyncError.self) { try layer.set(key, text) }
        #expect(error?.code == .invalidInput && error?.message.contains(key.rawValue) == true && error?.hint != nil)
        #expect(layer.isEmpty)
    }

    @Test func everyValueIsShownAsItCanBeSet() throws {
        let written = try layer([
            .every: "250ms", .events: "off", .switchWithin: "20s", .onMetered: "pause", .onBattery: "5m",
            .onLowBattery: "sync", .whenBusy: "1h", .capPerDay: "500MB", .capPerMonth: "20 GB", .capScope: "metered",
            .failover: "30s", .startEarly: "on",
        ])
        let policy = EffectivePolicy([(.vm, written)]).policy
        #expect(policy.startsEarly)
        for key in PolicyKey.allCases {
            let again = EffectivePolicy([(.vm, written), (.device, try layer([key: policy.text(key)]))])
            #expect(again.policy == policy, "\(key.rawValue): \(policy.text(key))")
        }
    }

    @Test func whatANewerVersionWroteIsPassedOverAndKept() throws {
        let stored = Data(#"{"values": {"every": "7s", "mood": "blue", "cap-day": "soon"}, "places": {"x": "?"}}"#.utf8)
        let layer = try JSONDecoder().decode(PolicyLayer.self, from: stored)
        let effective = EffectivePolicy([(.vm, layer)])
        #expect(effective.policy.every == 7 && effective.policy.capPerDay == nil)
        #expect(effective.problems.count == 3 && effective.problems.contains { $0.hasPrefix("mood (VM)") })
        let again = try JSONDecoder().decode(PolicyLayer.self, from: try JSONEncoder().encode(layer))
        #expect(again == layer)
    }

    @Test func aSettingThatIsTakenBackIsLeftToTheLayersBelow() throws {
        var layer = try layer([.every: "5s"], places: ["home": "pause"])
        try layer.set(.every, nil)
        try layer.set(place: "home", nil)
        #expect(layer.isEmpty)
    }

    @Test func whatIsBuiltInIsWhatTheManualSays() {
        let shown = PolicyKey.allCases.map { "\($0.rawValue) \(EffectivePolicy([]).policy.text($0))" }
        #expect(
            shown == [
                "every 1s", "events on", "switch-within off", "on-metered 5m", "on-battery sync", "on-low-battery 1m",
                "when-busy sync", "cap-day off", "cap-month off", "cap-counts all", "failover off",
                "start-early off",
            ])
    }

    @Test func timesAreWrittenAsPeopleWriteThem() {
        for (text, seconds) in [("50ms", 0.05), ("1.5s", 1.5), ("20s", 20), ("5m", 300), ("1h", 3600), ("7d", 604_800)]
        {
            #expect(TimeText.seconds(text) == seconds)
        }
        #expect(TimeText.text(1.5) == "1500ms" && TimeText.text(90) == "90s" && TimeText.text(7200) == "2h")
        #expect([0.44, 9.2, 42, 192, 7300].map(TimeText.spoken) == ["0.4 s", "9.2 s", "42 s", "3:12", "2 h"])
    }
}
