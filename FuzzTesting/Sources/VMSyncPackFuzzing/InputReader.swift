/// Reads numbers from an input; behind its end there are zeros.
struct InputReader {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { offset >= bytes.count }
    var rest: [UInt8] { Array(bytes[min(offset, bytes.count)...]) }

    mutating func skip(_ count: Int) { offset += count }

    mutating func byte() -> UInt8 {
        defer { offset += 1 }
        return offset < bytes.count ? bytes[offset] : 0
    }

    mutating func word() -> UInt16 { UInt16(byte()) | UInt16(byte()) << 8 }

    mutating func take(_ count: Int) -> [UInt8] {
        defer { offset += count }
        return Array(bytes[min(offset, bytes.count)..<min(offset + count, bytes.count)])
    }
}
