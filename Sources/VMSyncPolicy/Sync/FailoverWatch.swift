/// Whether a standby takes a VM over by itself, because its active device has been silent for long enough.
/// (docs/protocol/lost-devices.md, "It is taken over")
package struct FailoverWatch: Hashable, Sendable {
    /// What a standby knows at one moment.
    package struct View: Hashable, Sendable {
        /// Seconds of the policy; nil if it is off.
        package var limit: Double?
        /// Whether the server answers and says that the active device isn't there.
        package var holderIsSilent: Bool
        /// Whether the VM could go on here at once, from the head.
        package var couldTakeOver: Bool
        /// How many other devices could as well, and come first.
        package var before: Int

        package init(limit: Double?, holderIsSilent: Bool, couldTakeOver: Bool, before: Int) {
            self.limit = limit
            self.holderIsSilent = holderIsSilent
            self.couldTakeOver = couldTakeOver
            self.before = before
        }
    }

    /// Seconds that each device leaves to those before it: as long as a takeover takes.
    private static let turn = 5.0

    private var silentSince: Double?

    package init() {}

    /// - Parameter now: seconds by a clock that doesn't jump.
    /// - Returns: seconds until this device takes over, 0 if it is now; nil if it doesn't.
    package mutating func note(_ view: View, at now: Double) -> Double? {
        guard let limit = view.limit, view.holderIsSilent else {
            silentSince = nil
            return nil
        }
        let since = silentSince ?? now
        silentSince = since
        guard view.couldTakeOver else { return nil }
        return max(0, limit + Double(view.before) * Self.turn - (now - since))
    }
}
