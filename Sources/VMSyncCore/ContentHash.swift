/// The SHA-256 of some bytes, as 64 lower-case hexadecimal digits: the name of a chunk, the checksum of a pack.
package struct ContentHash: Hashable, Sendable, Codable, CustomStringConvertible, RawRepresentable {
    package let rawValue: String

    /// Nil unless `rawValue` is 64 lower-case hexadecimal digits, so that a hash can always stand in a path or a URL.
    package init?(rawValue: String) {
        guard rawValue.utf8.count == 64, rawValue.utf8.allSatisfy(Self.isDigit) else { return nil }
        self.rawValue = rawValue
    }

    /// The hash whose 32 bytes a SHA-256 implementation gave.
    package init(digest: some Swift.Sequence<UInt8>) {
        let digits = Array("0123456789abcdef".utf8)
        rawValue = String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
        precondition(rawValue.utf8.count == 64, "a SHA-256 has 32 bytes")
    }

    package var description: String { rawValue }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}
