/// LEB128: seven bits a byte, the lowest first, the top bit set on all but the last.
enum Varint {
    /// 64 bits need ten bytes.
    static let lengthMax = 10

    static func append(_ value: UInt64, to bytes: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// Writes `value` at `offset` and moves `offset` behind it. There is room for `lengthMax` bytes.
    static func write(_ value: Int, to bytes: UnsafeMutableRawBufferPointer, at offset: inout Int) {
        var rest = UInt64(value)
        while rest >= 0x80 {
            bytes[offset] = UInt8(truncatingIfNeeded: rest) | 0x80
            rest >>= 7
            offset += 1
        }
        bytes[offset] = UInt8(rest)
        offset += 1
    }

    /// Reads one varint at `offset` and moves `offset` behind it; nil if it runs over `end` or over 64 bits.
    static func read(_ bytes: UnsafeRawBufferPointer, at offset: inout Int, end: Int) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < end {
            let byte = bytes[offset]
            offset += 1
            let part = UInt64(byte & 0x7F)
            if shift == 63, part > 1 { return nil }
            value |= part << shift
            if byte < 0x80 { return value }
            shift += 7
            if shift > 63 { return nil }
        }
        return nil
    }
}
