/// A value that is guessed, and how far off such guesses were.
package struct Estimate: Hashable, Sendable {
    package var mean: Double
    /// The mean of |guess − truth|.
    package var deviation: Double

    package init(_ mean: Double, deviation: Double = 0) {
        self.mean = mean
        self.deviation = deviation
    }

    /// What is seldom passed: two mean deviations above, as 1.6 standard deviations of what is normally distributed, which
    /// one in twenty passes.
    package var high: Double { mean + 2 * deviation }

    package static func + (left: Estimate, right: Estimate) -> Estimate {
        Estimate(left.mean + right.mean, deviation: left.deviation + right.deviation)
    }
}

/// The mean of a series and its mean deviation, by which later values weigh more; as RFC 6298 (2.3) follows round trips.
package struct Average: Hashable, Sendable {
    private static let weight = 0.25
    /// Deviations are followed more slowly upwards than an outlier deserves, more quickly than it is forgotten.
    private static let deviationWeight = 0.25

    /// Nil before the first value.
    package private(set) var estimate: Estimate?

    package init() {}

    package mutating func note(_ value: Double) {
        guard value.isFinite else { return }
        guard var known = estimate else {
            // Of one value nobody knows how much the next differs.
            return estimate = Estimate(value, deviation: abs(value) / 2)
        }
        known.deviation += (abs(value - known.mean) - known.deviation) * Self.deviationWeight
        known.mean += (value - known.mean) * Self.weight
        estimate = known
    }
}
