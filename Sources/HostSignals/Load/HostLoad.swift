/// How busy the host's processors are.
package struct HostLoad: Sendable, Hashable {
    package enum Measure: Sendable, Hashable {
        /// The share of wall time in which somebody waited for a processor.
        case pressure
        /// How many wanted to run or waited for a disk, of as many as there are processors, in the last minute. It says
        /// more than pressure does: a guest that keeps one of two processors busy is a half, and nobody waits.
        case loadAverage
    }

    /// 0...1.
    package let share: Double
    package let measure: Measure

    package init(share: Double, measure: Measure) {
        self.share = share
        self.measure = measure
    }
}
