import VMSyncCore

/// Why a VM is or isn't being synced, and what a switch would take: what `vmsync status` says. (docs/policy.md)
package struct SyncStanding: Hashable, Sendable, Codable {
    package enum State: String, Hashable, Sendable, Codable {
        case syncing
        /// Until a time, or until something is written.
        case waiting
        /// Nothing is sent or fetched.
        case paused
    }

    package var state: State
    package var reason: String
    /// What the server doesn't have yet.
    package var behindBytes: UInt64
    /// What a switch now would take; nil on a standby, and where too little is known of the link to tell.
    package var switchSeconds: Double?
    package var promiseSeconds: Double?
    /// Whether a switch now would keep the promise.
    package var keepsPromise: Bool?
    /// Why it wouldn't.
    package var promiseProblem: String?
    /// Why it would now, and soon won't.
    package var promiseWarning: String?
    package var nextSeconds: Double?
    package var usedToday: UInt64
    package var usedThisMonth: UInt64

    enum CodingKeys: String, CodingKey {
        case state, reason
        case behindBytes = "behind_bytes"
        case switchSeconds = "switch_seconds"
        case promiseSeconds = "promise_seconds"
        case keepsPromise = "keeps_promise"
        case promiseProblem = "promise_problem"
        case promiseWarning = "promise_warning"
        case nextSeconds = "next_seconds"
        case usedToday = "used_today"
        case usedThisMonth = "used_month"
    }

    package init(_ decision: SyncDecision, _ policy: SyncPolicy, _ signals: SyncSignals) {
        state = Self.state(decision)
        reason = decision.reason.words
        if case .wait(let seconds) = decision.step { nextSeconds = seconds }
        behindBytes = UInt64(min(max(signals.unsent.all.mean, 0), 1e18))
        let seconds = signals.forecast.seconds(signals.unsent)
        switchSeconds = Self.isUnknown(signals) ? nil : seconds.mean
        usedToday = signals.used.today.all
        usedThisMonth = signals.used.month.all
        guard let promise = policy.switchWithin else { return }
        promiseSeconds = promise
        promiseProblem = Self.problem(promise, seconds, signals)
        keepsPromise = promiseProblem == nil
        if promiseProblem == nil, let outrun = Self.outrun(signals) {
            promiseWarning = "within \(TimeText.spoken(promise)) for now only: \(outrun)"
        }
    }

    /// Of a standby that is `behind` by so many bytes.
    package init(following decision: SyncDecision, behind: UInt64, used: TrafficUse) {
        switch decision.step {
        case .checkpoint: (state, reason) = (.syncing, "following")
        default: (state, reason) = (Self.state(decision), decision.reason.words)
        }
        if case .wait(let seconds) = decision.step { nextSeconds = seconds }
        behindBytes = behind
        usedToday = used.today.all
        usedThisMonth = used.month.all
    }

    private static func state(_ decision: SyncDecision) -> State {
        if decision.step == .hold { return .paused }
        switch decision.reason {
        case .time, .promise, .event: return .syncing
        case .nothingWritten, .restrained, .eventsOnly, .linkTooSlow: return .waiting
        case .cap, .packPassesCap, .paused: return .paused
        }
    }

    private static func problem(_ promise: Double, _ now: Estimate, _ signals: SyncSignals) -> String? {
        let nothing = signals.forecast.seconds(unsent: 0)
        let within = "not within \(TimeText.spoken(promise))"
        if nothing.mean > promise {
            return "\(within): even with nothing to send a switch takes \(TimeText.spoken(nothing.mean))"
        }
        if isUnknown(signals) { return "\(within) for sure: how fast the link is isn't known yet" }
        // As the promise is kept: with room for what isn't known for sure.
        guard now.high > promise else { return nil }
        if let outrun = outrun(signals) { return "\(within): \(outrun)" }
        var calm = signals.unsent
        calm.burst = 0
        if signals.forecast.seconds(calm).high > promise { return "\(within) just now" }
        return "\(within) for sure: the guest writes up to \(ByteCount(Int(signals.unsent.burst))) at once"
    }

    /// Where the guest writes faster than the link carries, no promise can be kept for long.
    private static func outrun(_ signals: SyncSignals) -> String? {
        let (growth, link) = (signals.unsent.growth.mean, signals.forecast.up)
        guard growth > link.goodput, !link.isGuessed else { return nil }
        return "the guest writes \(ByteCount(Int(growth)))/s, the link takes \(ByteCount(Int(link.goodput)))/s"
    }

    /// Whether so much is unsent that it depends on the link what a switch would take, of which nothing is known.
    private static func isUnknown(_ signals: SyncSignals) -> Bool {
        signals.forecast.up.isGuessed && signals.unsent.all.mean > LinkSummary.guessedMax
    }

    /// One line for a person.
    package var words: String {
        var parts = ["\(state == .syncing ? "" : "\(state.rawValue): ")\(reason)"]
        if let nextSeconds, state == .waiting { parts[0] += ", next in \(TimeText.spoken(nextSeconds))" }
        parts.append(behindBytes == 0 ? "nothing behind" : "\(ByteCount(behindBytes)) behind")
        if let switchSeconds { parts.append("a switch now would take about \(TimeText.spoken(switchSeconds))") }
        if let remark = promiseProblem ?? promiseWarning { parts.append(remark) }
        return parts.joined(separator: "; ")
    }
}

extension SyncReason {
    package var words: String {
        switch self {
        case .nothingWritten: "nothing was written since the last checkpoint"
        case .cap(let cap): "\(cap.words) is used up until \(cap.isMonthly ? "the month ends" : "midnight")"
        case .packPassesCap(let cap, let bytes):
            "the next pack, of \(ByteCount(bytes)), would pass \(cap.words), of which \(ByteCount(cap.left)) is left"
        case .paused(let cause): cause.words
        case .restrained(let cause, let seconds): "\(cause.words), at most every \(TimeText.text(seconds))"
        case .event(let event): "syncing, because \(event.words)"
        case .promise(let seconds): "syncing to keep a switch within \(TimeText.text(seconds))"
        case .time(let seconds): "syncing every \(TimeText.text(seconds))"
        case .eventsOnly: "until something happens"
        case .linkTooSlow: "the link is too slow for every checkpoint; the next merged pack is fetched"
        }
    }
}

extension CapStanding {
    var words: String { "the data cap of \(ByteCount(limit)) a \(isMonthly ? "month" : "day")" }
}
