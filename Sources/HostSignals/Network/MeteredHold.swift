/// Keeps what is known of a connection while NetworkManager takes it down and up again, as it does when its settings
/// change: in that moment it says "unknown", and before it knows a new connection too. "Unknown" isn't "free", but what
/// was known of the same connection a moment ago still holds.
package struct MeteredHold: Sendable {
    /// A connection that was only renewed is up again well before.
    package static let time = Duration.seconds(10)

    private var kept: [String: (value: Metered, unknownSince: Duration?)] = [:]
    /// Connections beyond this number are forgotten: nobody visits so many within the time.
    private static let keptMax = 16

    package init() {}

    /// - Parameters:
    ///   - connection: what tells it from any other; nil if there is none at the moment.
    ///   - time: on a clock that never goes back.
    package mutating func note(
        _ reading: Reading<Metered>, of connection: String?, at time: Duration
    ) -> Reading<Metered> {
        for (other, entry) in kept where other != connection && entry.unknownSince == nil {
            kept[other] = (entry.value, time)
        }
        guard let connection else { return reading }
        if let value = reading.value {
            if kept.count >= Self.keptMax { kept = [:] }
            kept[connection] = (value, nil)
            return reading
        }
        guard let known = kept[connection] else { return reading }
        let since = known.unknownSince ?? time
        guard time - since <= Self.time else {
            kept[connection] = nil
            return reading
        }
        kept[connection] = (known.value, since)
        return .known(known.value)
    }
}
