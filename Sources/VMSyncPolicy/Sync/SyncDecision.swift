import VMSyncCore

/// What holds a device back for a while.
package enum RestraintCause: Hashable, Sendable {
    case metered
    case place(String)
    case battery
    case lowBattery
    case busy

    package var words: String {
        switch self {
        case .metered: "metered"
        case .place(let name): "at \(name)"
        case .battery: "on battery"
        case .lowBattery: "battery low"
        case .busy: "the device is busy"
        }
    }
}

/// Why a device does what it does next.
package enum SyncReason: Hashable, Sendable {
    case nothingWritten
    case cap(CapStanding)
    /// The next pack, of so many bytes, would pass it.
    case packPassesCap(CapStanding, UInt64)
    case paused(RestraintCause)
    case restrained(RestraintCause, seconds: Double)
    case event(Occasion)
    /// What is unsent would soon take longer than was promised.
    case promise(Double)
    case time(Double)
    /// No rule asks for a checkpoint before something happens.
    case eventsOnly
    /// A standby's link would be busy with every checkpoint; it waits for a merged pack.
    case linkTooSlow
}

/// What a device does next about checkpoints of a running VM, and why. Pure; the rules and their order stand in
/// docs/policy.md, "The decision".
package struct SyncDecision: Hashable, Sendable {
    package enum Step: Hashable, Sendable {
        case checkpoint
        /// Nothing for so many seconds, or until a signal changes; nil for as long as it takes.
        case wait(Double?)
        /// Nothing is sent; checkpoints are kept here.
        case hold
    }

    package let step: Step
    package let reason: SyncReason

    package init(step: Step, reason: SyncReason) {
        self.step = step
        self.reason = reason
    }

    /// Between looks at what the guest has written, where a promise depends on it: a look takes a millisecond.
    package static let look = 0.25
    /// Between checkpoints that events ask for: several often come together.
    private static let eventPause = 2.0
    /// A battery with less is low.
    private static let lowBattery = 0.2

    package static func next(_ policy: SyncPolicy, _ signals: SyncSignals) -> SyncDecision {
        let unsent = signals.unsent
        guard unsent.hasChanged || unsent.nextPack != nil else {
            return SyncDecision(step: .wait(nil), reason: .nothingWritten)
        }
        if let held = held(policy, signals, next: unsent.nextPack) { return held }
        if let event = signals.event, event.isLastChance {
            return SyncDecision(step: .checkpoint, reason: .event(event))
        }
        guard let since = signals.sinceLast else {
            return SyncDecision(step: .checkpoint, reason: .time(policy.every ?? 0))
        }
        if let (restraint, cause) = strictest(policy, signals), case .atMostEvery(let seconds) = restraint {
            let isDue = since >= seconds
            return SyncDecision(
                step: isDue ? .checkpoint : .wait(seconds - since), reason: .restrained(cause, seconds: seconds))
        }
        return unrestrained(policy, signals, since)
    }

    /// Rules 6 to 9.
    private static func unrestrained(_ policy: SyncPolicy, _ signals: SyncSignals, _ since: Double) -> SyncDecision {
        if let event = signals.event, policy.isOnEvents {
            let isDue = since >= eventPause
            return SyncDecision(step: isDue ? .checkpoint : .wait(eventPause - since), reason: .event(event))
        }
        if let every = policy.every, since >= every {
            return SyncDecision(step: .checkpoint, reason: .time(every))
        }
        let untilTime = policy.every.map { $0 - since }
        guard let promise = policy.switchWithin else {
            return SyncDecision(step: .wait(untilTime), reason: policy.every.map(SyncReason.time) ?? .eventsOnly)
        }
        // What is written until the next look, and while the checkpoint is made, counts already.
        let expected = signals.unsent.all.high + signals.unsent.growth.high * look
        let isDue = since >= look && expected >= signals.forecast.room(within: promise)
        return SyncDecision(
            step: isDue ? .checkpoint : .wait(min(untilTime ?? look, look)), reason: .promise(promise))
    }

    /// Rule 2, which holds for a person who waits too; nil if no cap forbids the next pack.
    package static func capReason(_ policy: SyncPolicy, _ signals: SyncSignals, next: UInt64?) -> SyncReason? {
        guard let cap = CapStanding.tightest(policy, signals.used, isMetered: signals.isMetered) else { return nil }
        if cap.left == 0 { return .cap(cap) }
        return next.flatMap { $0 > cap.left ? .packPassesCap(cap, $0) : nil }
    }

    /// Rules 2 and 3, the same for what is sent and what is fetched.
    private static func held(_ policy: SyncPolicy, _ signals: SyncSignals, next: UInt64?) -> SyncDecision? {
        if let reason = capReason(policy, signals, next: next) { return SyncDecision(step: .hold, reason: reason) }
        if let (restraint, cause) = strictest(policy, signals), restraint == .pause {
            return SyncDecision(step: .hold, reason: .paused(cause))
        }
        return nil
    }

    /// The strictest of the restraints that apply; nil if none does.
    private static func strictest(_ policy: SyncPolicy, _ signals: SyncSignals) -> (Restraint, RestraintCause)? {
        var strictest: (Restraint, RestraintCause)?
        func take(_ restraint: Restraint, _ cause: RestraintCause) {
            if restraint.isStricter(than: strictest?.0 ?? .none) { strictest = (restraint, cause) }
        }
        // A person who names the place knows better than any guess what its bytes cost.
        let named = signals.place.first { policy.places[$0] != nil }
        if let named, let restraint = policy.places[named] {
            take(restraint, .place(named))
        } else if signals.isMetered {
            take(policy.onMetered, .metered)
        }
        if case .battery(let level) = signals.power {
            take(policy.onBattery, .battery)
            if let level, level < lowBattery { take(policy.onLowBattery, .lowBattery) }
        }
        if signals.isBusy { take(policy.whenBusy, .busy) }
        return strictest
    }
}

extension SyncDecision {
    /// What a standby knows of the pack that it could fetch next.
    package struct Following: Hashable, Sendable {
        /// Bytes of the next pack.
        package var nextPack: UInt64
        /// Seconds since the last one was fetched; nil if none was.
        package var sinceLast: Double?
        /// Checkpoints that this device is behind.
        package var behind: UInt64
        /// The part of its time that this device fetched lately while it followed each checkpoint.
        package var share: Double

        package init(nextPack: UInt64, sinceLast: Double?, behind: UInt64, share: Double) {
            self.nextPack = nextPack
            self.sinceLast = sinceLast
            self.behind = behind
            self.share = share
        }
    }

    /// A link that is busy more than this part of the time with every checkpoint has no room for anything else, and falls
    /// behind at the next peak.
    private static let shareMax = 0.7

    /// Whether a standby fetches the next pack now: rules 2, 3 and 5, and whether the link is good enough. `.checkpoint`
    /// means to fetch.
    package static func follow(
        _ policy: SyncPolicy, _ signals: SyncSignals, _ following: Following
    ) -> SyncDecision {
        if let held = held(policy, signals, next: following.nextPack) { return held }
        if let (restraint, cause) = strictest(policy, signals), case .atMostEvery(let seconds) = restraint,
            let since = following.sinceLast, since < seconds
        {
            return SyncDecision(step: .wait(seconds - since), reason: .restrained(cause, seconds: seconds))
        }
        // Merged packs appear at this pace, and one of them is shorter than all that it was merged of.
        if following.share > shareMax, following.behind < SpanLadder.width {
            return SyncDecision(step: .wait(nil), reason: .linkTooSlow)
        }
        return SyncDecision(step: .checkpoint, reason: .time(0))
    }

    /// Why the next part of a base image isn't fetched now, whose size in bytes is `part`; nil if it is. For whoever waits for
    /// it only rule 2 counts.
    package static func reasonAgainstBase(
        _ policy: SyncPolicy, _ signals: SyncSignals, part: UInt64, isAwaited: Bool
    ) -> SyncReason? {
        if let reason = capReason(policy, signals, next: part) { return reason }
        return isAwaited ? nil : held(policy, signals, next: part)?.reason
    }
}
