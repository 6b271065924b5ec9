/// Whether a device is busy, by the part of the time in which its programs wait for a processor.
package struct BusyWatch: Hashable, Sendable {
    /// Two limits, so that a load near one of them doesn't change the pace all the time.
    private static let busyFrom = 0.4
    private static let freeUntil = 0.2

    package private(set) var isBusy = false

    package init() {}

    /// - Parameter load: 0 to 1.
    package mutating func note(_ load: Double) {
        if load >= Self.busyFrom { isBusy = true } else if load <= Self.freeUntil { isBusy = false }
    }
}

/// Whether a guest that has worked has come to rest: then its person may have finished something.
package struct QuietWatch: Hashable, Sendable {
    /// Bytes a second of one that works, of one that rests, and for how many seconds it must.
    private static let working = 100_000.0
    private static let resting = 10_000.0
    private static let seconds = 2.0

    private var hasWorked = false
    private var restsSince: Double?

    package init() {}

    /// - Parameters:
    ///   - growth: bytes a second by which what is unsent has grown since the last look.
    ///   - now: seconds by any clock that doesn't jump.
    /// - Returns: whether the guest has come to rest just now.
    package mutating func note(growth: Double, at now: Double) -> Bool {
        if growth >= Self.working { hasWorked = true }
        guard hasWorked, growth <= Self.resting else {
            restsSince = nil
            return false
        }
        let since = restsSince ?? now
        restsSince = since
        guard now - since >= Self.seconds else { return false }
        self = QuietWatch()
        return true
    }
}
