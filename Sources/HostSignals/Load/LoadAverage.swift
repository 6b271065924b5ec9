/// The first number of /proc/loadavg, where the kernel has no pressure. (proc(5))
package enum LoadAverage {
    /// - Parameters:
    ///   - text: `0.60 0.42 1.11 2/456 12345`.
    ///   - processors: that are on line.
    /// - Returns: nil if it isn't such a text.
    package static func load(parsing text: String, processors: Int) -> HostLoad? {
        guard let average = text.split(separator: " ").first.flatMap({ Double($0) }), average >= 0, average.isFinite
        else { return nil }
        return HostLoad(share: min(average / Double(max(processors, 1)), 1), measure: .loadAverage)
    }
}
