/// An address as the kernel holds it: four bytes, the first one first.
package struct IPv4Address: Sendable, Hashable, CustomStringConvertible {
    /// The bytes in the order of the memory, so in network order.
    package let raw: UInt32

    /// Of the kernel's tables: `0200090A` on a little-endian host is 10.9.0.2.
    init?(kernelHex text: some StringProtocol) {
        guard text.utf8.count == 8, let raw = UInt32(text, radix: 16) else { return nil }
        self.raw = raw
    }

    /// Of `10.9.0.2`.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false).map { UInt8($0) }
        let bytes = parts.compactMap(\.self)
        guard parts.count == 4, bytes.count == 4 else { return nil }
        raw = bytes.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) }
    }

    private var bytes: [UInt8] { withUnsafeBytes(of: raw) { Array($0) } }

    package var description: String { bytes.map(String.init).joined(separator: ".") }
}
