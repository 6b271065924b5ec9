/// A number of bytes as a person reads it: "481 KB", "4.6 MB", "2.0 GB"; powers of 1000, as disks and links are sold.
package struct ByteCount: CustomStringConvertible, Sendable {
    package let bytes: UInt64
    package init(_ bytes: UInt64) { self.bytes = bytes }
    package init(_ bytes: Int) { self.bytes = UInt64(max(0, bytes)) }

    /// "500MB", "1.5 GB", "20G", "4096": powers of 1000.
    package init?(_ text: String) {
        let units: [Character: Double] = ["K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12]
        var number = text.uppercased().filter { $0 != " " }[...]
        if number.hasSuffix("B") { number = number.dropLast() }
        let unit = number.last.flatMap { units[$0] }
        if unit != nil { number = number.dropLast() }
        guard let value = Double(number), value.isFinite, value >= 0, value * (unit ?? 1) < 1e18 else { return nil }
        bytes = UInt64((value * (unit ?? 1)).rounded())
    }

    package var description: String {
        let units = ["B", "KB", "MB", "GB", "TB", "PB"]
        var tenths = bytes * 10
        var unit = 0
        while tenths >= 9_995, unit < units.count - 1 {
            tenths = (tenths + 500) / 1000
            unit += 1
        }
        if unit == 0 { return "\(bytes) B" }
        return tenths < 100 ? "\(tenths / 10).\(tenths % 10) \(units[unit])" : "\((tenths + 5) / 10) \(units[unit])"
    }
}
