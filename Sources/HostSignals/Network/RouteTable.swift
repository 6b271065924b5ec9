/// The main routing tables of IPv4 and IPv6, as /proc/net/route and /proc/net/ipv6_route show them. A tunnel that
/// brings a table of its own, as wg-quick does, isn't in it: then the default route is that of the link below, which is
/// paid for.
package struct RouteTable: Sendable, Hashable {
    package struct Default: Sendable, Hashable {
        package let interface: String
        /// nil without one: a link with two ends, or IPv6.
        package let gateway: IPv4Address?
        let metric: UInt32
    }

    private struct Link: Sendable, Hashable {
        let interface: String
        let network: IPv4Address
        let mask: IPv4Address
    }

    /// Linux, uapi/linux/route.h.
    private enum Flag {
        static let up: UInt32 = 0x1
        static let gateway: UInt32 = 0x2
        static let reject: UInt32 = 0x200
    }

    /// The best first; those of IPv6 count only without one of IPv4.
    package let defaults: [Default]
    private let links: [Link]

    /// Lines that have another form are left out.
    /// - Parameters:
    ///   - ipv4: `/proc/net/route`: name, destination, gateway, flags, two counts, metric, mask, and more;
    ///     hexadecimal but for the counts and the metric.
    ///   - ipv6: `/proc/net/ipv6_route`: destination, its length, source, its length, next hop, metric, two counts,
    ///     flags, name; all hexadecimal.
    package init(ipv4: String, ipv6: String = "") {
        var (four, links): ([Default], [Link]) = ([], [])
        for line in ipv4.split(separator: "\n") {
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count >= 8, let destination = IPv4Address(kernelHex: words[1]),
                let gateway = IPv4Address(kernelHex: words[2]), let flags = UInt32(words[3], radix: 16),
                let metric = UInt32(words[6]), let mask = IPv4Address(kernelHex: words[7]),
                flags & Flag.up != 0, flags & Flag.reject == 0
            else { continue }
            let interface = String(words[0])
            if destination.raw == 0 && mask.raw == 0 {
                let hasGateway = flags & Flag.gateway != 0
                four.append(Default(interface: interface, gateway: hasGateway ? gateway : nil, metric: metric))
            } else if flags & Flag.gateway == 0 {
                links.append(Link(interface: interface, network: destination, mask: mask))
            }
        }
        self.links = links
        defaults = (four.isEmpty ? Self.defaults(ipv6: ipv6) : four).sorted { $0.metric < $1.metric }
    }

    private static func defaults(ipv6: String) -> [Default] {
        ipv6.split(separator: "\n").compactMap { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count == 10, words[0].allSatisfy({ $0 == "0" }), words[1] == "00",
                let metric = UInt32(words[5], radix: 16), let flags = UInt32(words[8], radix: 16),
                flags & Flag.up != 0, flags & Flag.reject == 0
            else { return nil }
            return Default(interface: String(words[9]), gateway: nil, metric: metric)
        }
    }

    /// The network that a gateway lies in, as `10.9.0.0/255.255.255.0`; nil if no route says it.
    package func subnet(of gateway: IPv4Address, on interface: String) -> String? {
        let link = links.first { $0.interface == interface && gateway.raw & $0.mask.raw == $0.network.raw }
        return link.map { "\($0.network)/\($0.mask)" }
    }
}
