/// What /sys/class/net says of the kind of an interface.
package struct NetworkInterface: Sendable, Hashable {
    package let name: String
    /// Its packets go out through another interface.
    package let isTunnel: Bool
    /// It is a telephone, or a modem: paid for by the byte, more often than not.
    package let isMobile: Bool

    /// `ARPHRD_NONE` of uapi/linux/if_arp.h, of which tun and WireGuard are, but modems too.
    private static let withoutHeader: Int64 = 65534
    /// `DEVTYPE` of modems, and of telephones over Bluetooth.
    private static let mobileTypes: Set = ["wwan", "bluetooth"]
    /// Drivers of telephones on a cable: iPhones; Android, as it shares its link with Windows.
    private static let mobileDrivers: Set = ["ipheth", "rndis_host"]

    /// - Parameter root: `/sys`.
    package init(name: String, root: String) {
        self.name = name
        let folder = "\(root)/class/net/\(name)"
        let type = Self.type(of: folder)
        let driver = KernelFile.linkEnd("\(folder)/device/driver")
        isMobile = Self.mobileTypes.contains(type ?? "") || Self.mobileDrivers.contains(driver ?? "")
        isTunnel =
            !isMobile && (type == "wireguard" || KernelFile.number("\(folder)/type") == Self.withoutHeader)
    }

    private static func type(of folder: String) -> String? {
        let prefix = "DEVTYPE="
        let line = (try? KernelFile.text("\(folder)/uevent"))?.split(separator: "\n").first { $0.hasPrefix(prefix) }
        return line.map { String($0.dropFirst(prefix.count)) }
    }
}
