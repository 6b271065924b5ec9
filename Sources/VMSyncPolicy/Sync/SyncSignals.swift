/// What a device knows at the moment of a decision. Times are seconds, sizes bytes. (docs/policy.md, "Signals")
package struct SyncSignals: Hashable, Sendable {
    package enum Power: Hashable, Sendable {
        case mains
        /// 0 to 1, if it is known.
        case battery(level: Double?)
    }

    /// What is not at the server.
    package struct Unsent: Hashable, Sendable {
        /// Whether the guest has written anything since the last checkpoint; true if nobody can say.
        package var hasChanged = true
        /// What that will take in a pack; nil if nobody can say.
        package var written: Estimate?
        /// In packs that are made.
        package var waiting = 0.0
        /// The oldest of these.
        package var nextPack: UInt64?
        /// By how much `written` grows in a second.
        package var growth = Estimate(0)
        /// What may be written at any moment and nobody has seen yet.
        package var burst = 0.0

        package init() {}

        package var all: Estimate { Estimate(waiting) + (written ?? Estimate(0)) }
    }

    /// Since the last checkpoint was begun; nil if there was none.
    package var sinceLast: Double?
    package var unsent = Unsent()
    package var forecast: SwitchForecast
    package var isMetered = false
    /// By which the place may be called: its id, its name.
    package var place: [String] = []
    package var power = Power.mains
    package var isBusy = false
    package var used = TrafficUse()
    /// The weightiest that has happened since the last checkpoint.
    package var event: Occasion?

    package init(forecast: SwitchForecast) { self.forecast = forecast }
}

/// What happens around a device, after which people often put it down or pick another one up.
package enum Occasion: String, Hashable, Sendable, CaseIterable, Comparable {
    // The later, the weightier.
    case guestQuiet
    case chargerPulled
    case placeChanged
    case networkBack
    case guestSuspended
    case guestShuttingDown
    case batteryEmpty
    case hostSleeping
    case hostShuttingDown

    /// Whether this may be the last moment for a long time.
    var isLastChance: Bool { self >= .batteryEmpty }

    package static func < (left: Occasion, right: Occasion) -> Bool { left.weight < right.weight }

    private var weight: Int { Self.allCases.firstIndex(of: self) ?? 0 }

    package var words: String {
        switch self {
        case .guestQuiet: "the guest has finished something"
        case .chargerPulled: "the charger was pulled"
        case .placeChanged: "the device came to another place"
        case .networkBack: "the network is back"
        case .guestSuspended: "the guest went to sleep"
        case .guestShuttingDown: "the guest shuts down"
        case .batteryEmpty: "the battery is nearly empty"
        case .hostSleeping: "the device goes to sleep"
        case .hostShuttingDown: "the device shuts down"
        }
    }
}
