import VMSyncCore

/// When a device makes checkpoints and what it may send: all settings, with their values. (docs/policy.md)
package struct SyncPolicy: Hashable, Sendable {
    /// What a cap is for.
    package enum CapScope: String, Hashable, Sendable, CaseIterable {
        case all
        case metered
    }

    /// Seconds; nil for no checkpoint for time's sake.
    package var every: Double? = 1
    package var isOnEvents = true
    /// Seconds that a switch may take at any time; nil for no promise.
    package var switchWithin: Double?
    package var onMetered = Restraint.atMostEvery(300)
    package var onBattery = Restraint.none
    package var onLowBattery = Restraint.atMostEvery(60)
    package var whenBusy = Restraint.none
    /// By the name or the id of a place.
    package var places: [String: Restraint] = [:]
    /// Bytes; nil for no cap.
    package var capPerDay: UInt64?
    package var capPerMonth: UInt64?
    package var capScope = CapScope.all
    /// Seconds of silence of the active device after which a standby takes over by itself; nil for never.
    package var failover: Double?
    /// Whether the VM may run where its base image isn't all there yet.
    package var startsEarly = false

    package init() {}

    /// The server notices after this time that a device is gone.
    private static let failoverMin = 10.0

    /// Where a promise says when a checkpoint is due: what a lost device loses at most, in seconds.
    static let everyWithPromise = 60.0
}

/// A setting by the name that a person gives it.
package enum PolicyKey: String, Hashable, Sendable, CaseIterable {
    case every
    case events
    case switchWithin = "switch-within"
    case onMetered = "on-metered"
    case onBattery = "on-battery"
    case onLowBattery = "on-low-battery"
    case whenBusy = "when-busy"
    case capPerDay = "cap-day"
    case capPerMonth = "cap-month"
    case capScope = "cap-counts"
    case failover
    case startEarly = "start-early"
}

extension SyncPolicy {
    /// Sets one value from its text.
    /// - Throws: `invalidInput` with what could be said instead.
    mutating func set(_ key: PolicyKey, _ text: String) throws(VMSyncError) {
        let onOff = ["on": true, "off": false]
        switch key {
        case .every: every = try Self.time(text)
        case .events: isOnEvents = try Self.choice(text, onOff)
        case .switchWithin: switchWithin = try Self.time(text)
        case .onMetered: onMetered = try Restraint(parsing: text)
        case .onBattery: onBattery = try Restraint(parsing: text)
        case .onLowBattery: onLowBattery = try Restraint(parsing: text)
        case .whenBusy: whenBusy = try Restraint(parsing: text)
        case .capPerDay: capPerDay = try Self.cap(text)
        case .capPerMonth: capPerMonth = try Self.cap(text)
        case .capScope:
            let scopes = CapScope.allCases.map { ($0.rawValue, $0) }
            capScope = try Self.choice(text, Dictionary(uniqueKeysWithValues: scopes))
        case .startEarly: startsEarly = try Self.choice(text, onOff)
        case .failover:
            let seconds = try Self.time(text)
            guard seconds ?? Self.failoverMin >= Self.failoverMin else {
                throw VMSyncError(
                    .invalidInput, "a device may be silent for so long by chance", hint: "say 10s or more")
            }
            failover = seconds
        }
    }

    /// One value as a person writes it.
    package func text(_ key: PolicyKey) -> String {
        switch key {
        case .every: every.map(TimeText.text) ?? "off"
        case .events: isOnEvents ? "on" : "off"
        case .switchWithin: switchWithin.map(TimeText.text) ?? "off"
        case .onMetered: onMetered.text
        case .onBattery: onBattery.text
        case .onLowBattery: onLowBattery.text
        case .whenBusy: whenBusy.text
        case .capPerDay: capPerDay.map { "\(ByteCount($0))" } ?? "off"
        case .capPerMonth: capPerMonth.map { "\(ByteCount($0))" } ?? "off"
        case .capScope: capScope.rawValue
        case .failover: failover.map(TimeText.text) ?? "off"
        case .startEarly: startsEarly ? "on" : "off"
        }
    }

    private static func time(_ text: String) throws(VMSyncError) -> Double? {
        if text == "off" { return nil }
        guard let seconds = TimeText.seconds(text) else {
            throw VMSyncError(
                .invalidInput, "\"\(text)\" is no time", hint: "say off, or 500ms, 20s, 5m, 1h; 50ms to 7d")
        }
        return seconds
    }

    private static func cap(_ text: String) throws(VMSyncError) -> UInt64? {
        if text == "off" { return nil }
        guard let count = ByteCount(text), count.bytes > 0 else {
            throw VMSyncError(.invalidInput, "\"\(text)\" is no number of bytes", hint: "say off, or 500MB, 20GB")
        }
        return count.bytes
    }

    private static func choice<Value>(_ text: String, _ values: [String: Value]) throws(VMSyncError) -> Value {
        guard let value = values[text] else {
            let names = values.keys.sorted().joined(separator: " or ")
            throw VMSyncError(.invalidInput, "\"\(text)\" isn't possible here", hint: "say \(names)")
        }
        return value
    }
}
