import Testing
import VMSyncPolicy

@Suite struct HostConditionsTests {
    private func host(_ change: (inout HostConditions) -> Void = { _ in }) -> HostConditions {
        var host = HostConditions()
        host.place = ["home"]
        change(&host)
        return host
    }

    @Test func whatChangedIsAnOccasionOnce() {
        let unplugged = host { $0.power = .battery(level: 0.5) }
        #expect(unplugged.occasions(after: host()) == [.chargerPulled])
        #expect(unplugged.occasions(after: unplugged) == [])
        #expect(host().occasions(after: unplugged) == [])
        let empty = host { $0.power = .battery(level: 0.05) }
        #expect(empty.occasions(after: unplugged) == [.batteryEmpty])
        #expect(empty.occasions(after: empty) == [])
        #expect(empty.occasions(after: host()) == [.chargerPulled, .batteryEmpty])
        #expect(host { $0.power = .battery(level: 0.06) }.occasions(after: unplugged) == [])
        let alone = host { $0.hasNetwork = false }
        #expect(alone.occasions(after: host()) == [])
        #expect(host().occasions(after: alone) == [.networkBack])
        let elsewhere = host { $0.place = ["work"] }
        #expect(elsewhere.occasions(after: host()) == [.placeChanged])
        // What wasn't known says nothing of where the device was.
        #expect(host().occasions(after: HostConditions()) == [])
        #expect(HostConditions().occasions(after: host()) == [])
    }

    @Test func theFirstLookIsNoOccasion() { #expect(HostConditions().occasions(after: HostConditions()) == []) }

    @Test func whatTheHostSaysIsWhatADecisionIsMadeWith() {
        var signals = SyncSignals(forecast: SwitchForecast(up: TransferModel().link))
        var busy = BusyWatch()
        busy.note(0.9)
        signals.take(
            host {
                $0.isMetered = true
                $0.power = .battery(level: 0.3)
                $0.busy = busy
            })
        #expect(signals.isMetered && signals.place == ["home"] && signals.isBusy)
        #expect(signals.power == .battery(level: 0.3))
    }
}
