/// Tells a change once it has stood for a while: a plug that is pushed in bounces, and a network that comes up changes
/// many times in a second.
package struct Settling<Value: Equatable & Sendable>: Sendable {
    /// How long a value must stand.
    package let quiet: Duration
    private var told: Value?
    private var waiting: (value: Value, since: Duration)?

    package init(quiet: Duration) { self.quiet = quiet }

    /// Whether something is to be told when `quiet` has gone by.
    package var isUnsettled: Bool { waiting != nil }

    /// - Parameter time: on a clock that never goes back.
    /// - Returns: whether `value` is another one than was told last, and has stood. The first one is no change.
    package mutating func note(_ value: Value, at time: Duration) -> Bool {
        guard let told else {
            told = value
            return false
        }
        guard value != told else {
            waiting = nil
            return false
        }
        guard let waiting, waiting.value == value else {
            waiting = (value, time)
            return false
        }
        guard time - waiting.since >= quiet else { return false }
        self.told = value
        self.waiting = nil
        return true
    }
}
