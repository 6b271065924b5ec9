#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCore

/// Times the steps of one checkpoint or switch, in milliseconds by name.
struct Stopwatch {
    private(set) var steps: [String: Double] = [:]
    private var last = ContinuousClock.now

    /// The time since the last lap is that of `step`.
    mutating func lap(_ step: String) {
        let now = ContinuousClock.now
        steps[step, default: 0] += (now - last).milliseconds
        last = now
    }

    /// The time since the last lap is nobody's.
    mutating func skip() { last = .now }

    mutating func set(_ step: String, _ duration: Duration) { steps[step] = duration.milliseconds }
}

/// A clock that two daemons on one host share, so that a demo or a test can measure a switch across both.
package enum HostClock {
    /// Milliseconds since the host started.
    package static var milliseconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) * 1000 + Double(time.tv_nsec) / 1_000_000
    }

    /// A number that two processes share if and only if (by accident aside) their clocks do: 48 bits of the boot id.
    static func tag(bootID: String) -> Double {
        Double(UInt64(bootID.filter(\.isHexDigit).prefix(12), radix: 16) ?? 0)
    }
}
