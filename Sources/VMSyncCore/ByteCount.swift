/// A number of bytes as a person reads it: "481 KB", "4.6 MB", "2.0 GB"; powers of 1000, as disks and links are sold.
package struct ByteCount: CustomStringConvertible, Sendable {
    package let bytes: UInt64
    package init(_ bytes: UInt64) { self.bytes = bytes }
    package init(_ bytes: Int) { self.bytes = UInt64(max(0, bytes)) }

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
