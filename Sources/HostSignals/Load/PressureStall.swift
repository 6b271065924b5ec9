/// The line `some` of /proc/pressure/cpu. (Linux, Documentation/accounting/psi.rst)
package struct PressureStall: Sendable, Hashable {
    /// 0...1, the kernel's own average over ten seconds.
    package let average10: Double
    /// In how much time since the start at least one task waited.
    package let total: Duration

    /// Of `some avg10=1.69 avg60=5.04 avg300=7.97 total=4595061152`: percent, and microseconds.
    /// - Returns: nil if there is no such line.
    package init?(parsing text: String) {
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.first == "some" else { continue }
            var values: [Substring: Substring] = [:]
            for word in words.dropFirst() {
                let parts = word.split(separator: "=", maxSplits: 1)
                if parts.count == 2 { values[parts[0]] = parts[1] }
            }
            guard let average = values["avg10"].flatMap({ Double($0) }), (0...100).contains(average),
                let total = values["total"].flatMap({ Int64($0) }), total >= 0
            else { return nil }
            average10 = average / 100
            self.total = .microseconds(total)
            return
        }
        return nil
    }
}
