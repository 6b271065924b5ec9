/// Puts together what logind signals and what the clocks show: one going to sleep and one waking, however often each is
/// signalled, and whether it is signalled at all. A value; who owns it acts on what it says.
package struct SleepWatch: Sendable, Equatable {
    /// The host goes to sleep or down, or that is over.
    package enum Change: Sendable, Hashable {
        case willSleep
        /// It slept so long; zero if it didn't come to that.
        case woke(after: Duration)
        case willShutDown
        case shutdownCancelled
    }

    /// The two clocks are read one after the other: less than this isn't sleep, and no host sleeps so shortly.
    package static let sleepMin = Duration.seconds(1)

    /// Between a willSleep and its woke.
    package private(set) var isGoingToSleep = false
    package private(set) var isGoingDown = false
    /// The sleep that was told.
    private var slept: Duration

    /// - Parameter clocks: of now: what the host slept before isn't told.
    package init(_ clocks: HostClocks) { slept = clocks.slept }

    /// The clocks, looked at now and then: a host without logind wakes by them.
    package mutating func note(_ clocks: HostClocks) -> [Change] {
        let growth = clocks.slept - slept
        guard growth >= Self.sleepMin else { return [] }
        slept = clocks.slept
        isGoingToSleep = false
        return [.woke(after: growth)]
    }

    /// PrepareForSleep, or the property PreparingForSleep. Some logind says each twice.
    package mutating func note(preparingForSleep: Bool, _ clocks: HostClocks) -> [Change] {
        var changes = note(clocks)
        guard preparingForSleep != isGoingToSleep else { return changes }
        isGoingToSleep = preparingForSleep
        changes.append(preparingForSleep ? .willSleep : .woke(after: .zero))
        return changes
    }

    /// PrepareForShutdown, or the property PreparingForShutdown.
    package mutating func note(preparingForShutdown: Bool) -> [Change] {
        guard preparingForShutdown != isGoingDown else { return [] }
        isGoingDown = preparingForShutdown
        return [isGoingDown ? .willShutDown : .shutdownCancelled]
    }
}
