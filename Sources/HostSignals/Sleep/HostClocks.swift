#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// What two of the kernel's clocks show at one moment. (clock_gettime(2))
package struct HostClocks: Sendable, Hashable {
    /// Time since the start, without that in which the host slept: `CLOCK_MONOTONIC`.
    package let awake: Duration
    /// Time since the start with it: `CLOCK_BOOTTIME`.
    package let all: Duration

    package init(awake: Duration, all: Duration) {
        self.awake = awake
        self.all = all
    }

    package static func now() -> HostClocks {
        // In this order an interruption between the two looks like sleep of that length, not like less than none.
        let awake = time(CLOCK_MONOTONIC)
        return HostClocks(awake: awake, all: time(CLOCK_BOOTTIME))
    }

    /// How long the host has slept since it was started.
    var slept: Duration { all - awake }

    private static func time(_ clock: clockid_t) -> Duration {
        var time = timespec()
        // Fails for unknown clocks only; both are older than any kernel that this runs on.
        clock_gettime(clock, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
