/// How a measured value is distributed.
package struct Spread: Sendable, Codable, Hashable {
    package var p50: Double
    package var p90: Double
    package var p99: Double
    package var max: Double

    init(_ values: [Double]) {
        let sorted = values.sorted()
        p50 = sorted.percentile(50) ?? 0
        p90 = sorted.percentile(90) ?? 0
        p99 = sorted.percentile(99) ?? 0
        max = sorted.last ?? 0
    }
}
