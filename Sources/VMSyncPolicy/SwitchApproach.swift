import VMSyncCore

/// How the source of a switch comes near its end while the guest still runs: by checkpoint after checkpoint, each with
/// what was written while the one before was made and sent, until the last one, for which the guest stands still, can't
/// get much smaller. A value; who makes the checkpoints tells how long they took.
package struct SwitchApproach: Sendable, Equatable {
    /// A guest that writes faster than the link carries comes no nearer by more of them.
    package static let roundsMax = 6
    /// What is written in this time is a frame or two of a film: a last checkpoint of less is not worth another round.
    package static let shortEnough = Duration.milliseconds(60)
    /// In all, as long as the guest would stand still for less: a person waits for the switch. Over a slow link a single
    /// round may take much longer, and so might the last checkpoint.
    package static let timeMax = Duration.seconds(2)

    /// What should come next.
    package enum Step: Sendable, Equatable {
        case anotherRound
        /// Nothing: the target still has a round to fetch. Its packs would only pile up, and the last one behind them.
        case wait
        case lastCheckpoint
    }

    package let id: SwitchID
    private var rounds: [Duration] = []
    private var hasFailed = false
    /// Whether the next round would take about as long as the last one, which was long, or the one after it as long as that.
    private var isGrowing = false
    /// The newest checkpoint that the server has.
    private var sent: Sequence?
    /// The newest one that the target is known to hold; nil before it has said that it is ready.
    private var held: Sequence?

    package init(_ id: SwitchID) { self.id = id }

    /// What becomes of `current` when the server says `pending` of the last switch: it goes on, another begins, or it ends
    /// because no switch away from `device` is open.
    package static func following(
        _ current: SwitchApproach?, _ pending: SwitchRecord?, from device: DeviceID
    ) -> SwitchApproach? {
        guard let pending, pending.isLeaving(device), !pending.isCold else { return nil }
        var approach = current?.id == pending.id ? current : nil
        if approach == nil { approach = SwitchApproach(pending.id) }
        if let held = pending.held { approach?.noteTarget(holds: held) }
        return approach
    }

    /// A checkpoint was made; `round` is from its beginning until the server had it.
    package mutating func note(_ round: Duration, sent sequence: Sequence) {
        rounds.append(round)
        sent = sequence
    }

    /// The target holds checkpoint `sequence`.
    package mutating func noteTarget(holds sequence: Sequence) { held = sequence }

    /// A checkpoint could not be made or sent.
    package mutating func noteFailure() { hasFailed = true }

    /// What the guest writes over a slow link in a round may take longer to send than that round: another one would take it
    /// farther from the end.
    /// - Parameters:
    ///   - seconds: that the next round would take, as it looks now.
    ///   - after: that the one after it would take, with what is written meanwhile.
    package mutating func noteNextRound(_ seconds: Double, after: Double) {
        let isNoShorter = rounds.last.map { $0 >= Self.timeMax && .seconds(seconds) * 5 > $0 * 4 } ?? false
        isGrowing = isNoShorter || Self.isOutrun(seconds, after: after)
    }

    /// Whether in so many `seconds` of sending, a long time, the guest writes what takes about as long again.
    static func isOutrun(_ seconds: Double, after: Double) -> Bool {
        .seconds(seconds) >= timeMax && after * 5 > seconds * 4
    }

    /// Whether the guest should stand still until what is on its way is there: it would outrun the link, and nobody could say
    /// how long the switch takes.
    package private(set) var holdsGuest = false

    /// - Parameters:
    ///   - seconds: that what is on its way still takes.
    ///   - after: that the last checkpoint would take then.
    package mutating func noteSending(_ seconds: Double, after: Double) {
        // A target that isn't ready may never be.
        guard held != nil, Self.isOutrun(seconds, after: after) else { return }
        holdsGuest = true
    }

    /// Whether another round and the last checkpoint together would take longer than was promised: then the last one comes
    /// now. (docs/policy.md, "switch-within")
    package private(set) var isShortOfTime = false

    /// - Parameter left: seconds of the promise, from now on.
    package mutating func noteTime(left: Double, _ forecast: SwitchForecast, _ unsent: SyncSignals.Unsent) {
        let round = forecast.up.seconds(for: unsent.all.high).high
        // What the guest writes meanwhile is what the last one carries.
        let last = forecast.seconds(unsent: Estimate(unsent.growth.high * round)).high
        // A promise that is broken in any case asks for nothing: then the guest should run as long as it can.
        let isKept = forecast.seconds(unsent: unsent.all).high <= left
        isShortOfTime = isKept && round + last > left
    }

    package var next: Step {
        // One may be on its way while the next is made; two would mean that the link is slower than we are.
        if let sent, let held, held < sent, sent.rawValue - held.rawValue > 1 { return .wait }
        return isNear ? .lastCheckpoint : .anotherRound
    }

    /// Whether the next checkpoint should be the last.
    private var isNear: Bool {
        if hasFailed || isShortOfTime || isGrowing || holdsGuest || rounds.count >= Self.roundsMax { return true }
        guard let last = rounds.last else { return false }
        let isSlow = last >= Self.timeMax
        if last <= Self.shortEnough || !isSlow && rounds.reduce(.zero, +) >= Self.timeMax { return true }
        guard let shortest = rounds.dropLast().min() else { return false }
        if isSlow { return last * 5 > shortest * 4 }
        // The last checkpoint holds what was written in the round before it. One that is hardly shorter than the best is as
        // near as it comes; one that is longer is a bad moment, and what follows it is likely to be shorter again.
        return last * 5 > shortest * 4 && last * 4 <= shortest * 5
    }
}
