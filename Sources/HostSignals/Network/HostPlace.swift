/// Where the host is, as far as its network tells. To be told from other places, for comfort: whoever runs a network
/// can make it look like another one.
package struct HostPlace: Sendable, Hashable {
    /// 16 hexadecimal digits, the same at each visit.
    package let id: String
    /// What the person calls this network; nil where nobody named it.
    package let name: String?

    package init(id: String, name: String?) {
        self.id = id
        self.name = name
    }

    /// A connection that one network only can be: a Wi-Fi, a SIM card.
    init(connection uuid: String, name: String) {
        self.init(id: Self.id(["connection", uuid]), name: name)
    }

    /// A connection that any cable can be: "Wired connection 1" is at home and at work.
    init(connection uuid: String, name: String, gateway: String) {
        self.init(id: Self.id(["connection", uuid, gateway]), name: name)
    }

    /// Without a connection. Routers that share an address (VRRP, HSRP) have the same in many networks, so the subnet
    /// is in it.
    init(gateway: String, subnet: String) {
        self.init(id: Self.id(["gateway", gateway, subnet]), name: nil)
    }

    /// FNV-1a of 64 bits: short, and the same on each device and in each version. It hides nothing: who knows the
    /// hardware address of a gateway can find its place.
    private static func id(_ parts: [String]) -> String {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in parts.joined(separator: "\n").utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
