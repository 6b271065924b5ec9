/// What happens to the host.
package enum HostEvent: Sendable {
    /// Power or network are different, and have been for a moment.
    case changed
    /// The host goes to sleep as soon as the delay is released.
    case willSleep(SleepDelay)
    /// The host goes down as soon as the delay is released.
    case willShutDown(SleepDelay)
    /// The host slept so long, by its clocks; zero if it was about to, and didn't.
    case woke(after: Duration)
    /// The host doesn't go down after all.
    case shutdownCancelled
}
