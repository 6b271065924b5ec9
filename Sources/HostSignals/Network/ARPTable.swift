/// Hardware addresses of neighbours, as /proc/net/arp shows them. A neighbour is in it once something was sent to it.
package struct ARPTable: Sendable, Hashable {
    private struct Key: Hashable {
        let address: IPv4Address
        let interface: String
    }

    private let entries: [Key: String]

    /// `ATF_COM` of uapi/linux/if_arp.h: the address was answered for.
    private static let complete: UInt32 = 0x2

    /// - Parameter text: address, type, flags, hardware address, mask, interface; below a line of headings.
    package init(parsing text: String) {
        var entries: [Key: String] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count == 6, let address = IPv4Address(words[0]), words[2].hasPrefix("0x"),
                let flags = UInt32(words[2].dropFirst(2), radix: 16), flags & Self.complete != 0,
                words[3].contains(where: { $0 != "0" && $0 != ":" })
            else { continue }
            entries[Key(address: address, interface: String(words[5]))] = words[3].lowercased()
        }
        self.entries = entries
    }

    /// As `52:54:00:12:34:56`; nil if it isn't known, or not yet.
    package func hardwareAddress(of address: IPv4Address, on interface: String) -> String? {
        entries[Key(address: address, interface: interface)]
    }
}
