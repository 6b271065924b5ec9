import Foundation
import HostSignals
import Synchronization
import Testing

@Suite("The kernel's network tables") struct NetworkTableTests {
    private static let heading =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT    \n"

    private func routes(_ lines: String...) -> RouteTable {
        RouteTable(ipv4: Self.heading + lines.map { "\($0)\t0\t0\t0\n" }.joined())
    }

    @Test func theRouteOfLowestMetricIsTheBest() throws {
        let table = routes(
            "wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000", "va\t00000000\t0200090A\t0003\t0\t0\t100\t00000000",
            "va\t0000090A\t00000000\t0001\t0\t0\t100\t00FFFFFF")
        #expect(table.defaults.map(\.interface) == ["va", "wlan0"])
        let gateway = try #require(table.defaults.first?.gateway)
        #expect("\(gateway)" == "10.9.0.2" && gateway == IPv4Address("10.9.0.2"))
        #expect(table.subnet(of: gateway, on: "va") == "10.9.0.0/255.255.255.0")
        #expect(table.subnet(of: gateway, on: "wlan0") == nil)
    }

    @Test func aRouteWithoutGatewayIsOneToo() {
        let table = routes("tun0\t00000000\t00000000\t0001\t0\t0\t50\t00000000")
        #expect(table.defaults.first?.interface == "tun0" && table.defaults.first?.gateway == nil)
    }

    @Test func routesThatDoNotCarryAreLeftOut() {
        // Down; rejecting; of half of the addresses only.
        let table = routes(
            "a\t00000000\t0200090A\t0002\t0\t0\t1\t00000000", "b\t00000000\t00000000\t0201\t0\t0\t1\t00000000",
            "c\t00000000\t0200090A\t0003\t0\t0\t1\t00000080")
        #expect(table.defaults.isEmpty)
    }

    @Test(arguments: ["", "nonsense", "va 0 0 0 0 0 0 0", "va\t00000000\t0200090A\t0003\t0\t0\tmuch\t00000000"])
    func linesOfAnotherFormAreLeftOut(text: String) { #expect(RouteTable(ipv4: text, ipv6: text).defaults.isEmpty) }

    @Test func ipv6CountsWithoutIPv4() {
        let zeros = String(repeating: "0", count: 32)
        let router = "fe80000000000000505400fffe123456"
        let ipv6 = """
            \(zeros) 00 \(zeros) 00 \(router) 00000400 00000001 00000000 00000003       wlan0
            \(zeros) 00 \(zeros) 00 \(zeros) ffffffff 00000001 00000000 00200200       lo
            """
        #expect(RouteTable(ipv4: "", ipv6: ipv6).defaults.map(\.interface) == ["wlan0"])
        let ipv4 = Self.heading + "va\t00000000\t0200090A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
        #expect(RouteTable(ipv4: ipv4, ipv6: ipv6).defaults.map(\.interface) == ["va"])
    }

    @Test func onlyAnsweredNeighboursAreKnown() throws {
        let table = ARPTable(
            parsing: """
                IP address       HW type     Flags       HW address            Mask     Device
                10.9.0.2         0x1         0x2         52:54:00:AB:CD:EF     *        va
                10.9.0.3         0x1         0x0         00:00:00:00:00:00     *        va
                10.9.0.4         0x1         0x2         00:00:00:00:00:00     *        va
                nonsense
                """)
        let gateway = try #require(IPv4Address("10.9.0.2"))
        #expect(table.hardwareAddress(of: gateway, on: "va") == "52:54:00:ab:cd:ef")
        #expect(table.hardwareAddress(of: gateway, on: "vb") == nil)
        for other in ["10.9.0.3", "10.9.0.4", "10.9.0.5"] {
            #expect(table.hardwareAddress(of: try #require(IPv4Address(other)), on: "va") == nil)
        }
    }

    @Test(arguments: ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2..4", "a.b.c.d"])
    func whatIsNoAddressIsNone(text: String) { #expect(IPv4Address(text) == nil) }

    @Test func thisKernelsTablesAreRead() throws {
        let text = try String(contentsOfFile: "/proc/net/route", encoding: .utf8)
        let lines = text.split(separator: "\n").dropFirst().map { $0.split(separator: "\t").map(String.init) }
        let expected = lines.filter { $0[1] == "00000000" && $0[7] == "00000000" }.map { $0[0] }
        #expect(Set(RouteTable(ipv4: text).defaults.map(\.interface)) == Set(expected))
    }

    @Test func tunnelsAndTelephonesAreToldFromCables() throws {
        let tree = try FixtureTree()
        try tree.write("1\n", to: "class/net/eth0/type")
        try tree.write("INTERFACE=eth0\nIFINDEX=2\n", to: "class/net/eth0/uevent")
        try tree.link("class/net/eth0/device/driver", to: "../../../bus/pci/drivers/e1000e")
        try tree.write("65534\n", to: "class/net/tun0/type")
        try tree.write("DEVTYPE=wireguard\nINTERFACE=wg0\n", to: "class/net/wg0/uevent")
        try tree.write("65534\n", to: "class/net/wwan0/type")
        try tree.write("DEVTYPE=wwan\nINTERFACE=wwan0\n", to: "class/net/wwan0/uevent")
        try tree.link("class/net/usb0/device/driver", to: "../../../bus/usb/drivers/rndis_host")
        func kind(_ name: String) -> [Bool] {
            let interface = NetworkInterface(name: name, root: tree.root)
            return [interface.isTunnel, interface.isMobile]
        }
        #expect(kind("eth0") == [false, false] && kind("gone") == [false, false])
        #expect(kind("tun0") == [true, false] && kind("wg0") == [true, false])
        #expect(kind("wwan0") == [false, true] && kind("usb0") == [false, true])
    }

    @Test func aGatewayIsAskedThroughItsInterfaceOnly() throws {
        let listener = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, length) == 0 && getsockname(listener, $0, &length) == 0
            }
        }
        try #require(isBound)
        var wait = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &wait, socklen_t(MemoryLayout<timeval>.size))
        let target = try #require(IPv4Address("127.0.0.1"))
        let port = UInt16(bigEndian: address.sin_port)
        GatewayProbe.send(to: target, port: port, interface: "nowhere0")
        GatewayProbe.send(to: target, port: port, interface: "lo")
        var buffer = [UInt8](repeating: 0, count: 16)
        #expect(recv(listener, &buffer, buffer.count, 0) == 0)
        #expect(recv(listener, &buffer, buffer.count, Int32(MSG_DONTWAIT)) == -1)
    }
}
