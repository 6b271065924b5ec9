#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A point in time by one machine's clock: whole milliseconds since 1970-01-01T00:00:00Z.
///
/// Two of them compare only if the same clock made them; in the sync API that is always the server's.
package struct Timestamp: Hashable, Comparable, Sendable, Codable, CustomStringConvertible, RawRepresentable {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }

    /// This machine's clock now.
    package static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(rawValue: Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000)
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool { left.rawValue < right.rawValue }

    /// The time `duration` later, to the millisecond; saturates at the ends of the range.
    package static func + (time: Timestamp, duration: Duration) -> Timestamp {
        let (seconds, attoseconds) = duration.components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1000)
        let milliseconds = overflow ? (seconds < 0 ? Int64.min : Int64.max) : whole
        let (sum, overflowed) = time.rawValue.addingReportingOverflow(milliseconds)
        if overflowed { return Timestamp(rawValue: milliseconds < 0 ? .min : .max) }
        return Timestamp(rawValue: sum + attoseconds / 1_000_000_000_000_000)
    }

    package var description: String { String(rawValue) }
}
