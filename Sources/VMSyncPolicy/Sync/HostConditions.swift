/// What a host says of itself, as far as it matters to its VMs.
package struct HostConditions: Sendable, Hashable {
    package var isMetered = false
    /// By which the place may be called; empty if it isn't known.
    package var place: [String] = []
    package var power = SyncSignals.Power.mains
    package var busy = BusyWatch()
    /// Whether there is a way out. Taken for granted before anything was read, so that the first look is no event.
    package var hasNetwork = true

    package init() {}

    /// A battery with less runs out any moment.
    private static let emptyBattery = 0.05

    private var isEmpty: Bool {
        guard case .battery(let level?) = power else { return false }
        return level <= Self.emptyBattery
    }

    /// What has happened since it was as `before`.
    package func occasions(after before: HostConditions) -> [Occasion] {
        var occasions: [Occasion] = []
        if case .battery = power, before.power == .mains { occasions.append(.chargerPulled) }
        if isEmpty, !before.isEmpty { occasions.append(.batteryEmpty) }
        if hasNetwork, !before.hasNetwork { occasions.append(.networkBack) }
        if !place.isEmpty, !before.place.isEmpty, place != before.place { occasions.append(.placeChanged) }
        return occasions
    }
}

extension SyncSignals {
    /// Takes in what the host says.
    package mutating func take(_ host: HostConditions) {
        isMetered = host.isMetered
        place = host.place
        power = host.power
        isBusy = host.busy.isBusy
    }
}
