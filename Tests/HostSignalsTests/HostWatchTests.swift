import HostSignals
import Testing

/// On a host of fixtures, without a bus.
@Suite("A watch of the host", .timeLimit(.minutes(1))) struct HostWatchTests {
    private static let noBus = "unix:path=/nonexistent/bus"

    private func plug(_ tree: borrowing FixtureTree, isIn: Bool) throws {
        try tree.supply("AC", ["type": "Mains", "online": isIn ? "1" : "0"])
        try tree.supply(
            "BAT0", ["type": "Battery", "status": isIn ? "Charging" : "Discharging", "capacity": "60"])
    }

    @Test func aChargerThatIsPulledIsTold() async throws {
        let tree = try FixtureTree()
        try plug(tree, isIn: true)
        let (clocks, paths) = (TestClocks(), tree.paths)
        try await Watched.with(paths: paths, bus: Self.noBus, clocks: { clocks.now }) { watched in
            try await watched.nextChange()
            #expect(await watched.watch.current().power == .known(HostPower(source: .mains, level: 0.6)))
            try plug(tree, isIn: false)
            // Past the next look, then past the time for which a change must stand.
            clocks.sleep(HostWatch.powerInterval)
            _ = try await watched.nextWaking()
            clocks.sleep(HostWatch.powerQuiet)
            try await watched.nextChange()
            #expect(await watched.watch.current().power == .known(HostPower(source: .battery, level: 0.6)))
        }
    }

    @Test func whatIsUnknownSaysWhy() async throws {
        let tree = try FixtureTree()
        let paths = tree.paths
        try await Watched.with(paths: paths, bus: Self.noBus) { watched in
            let signals = await watched.watch.current()
            #expect(signals.power.whyUnknown?.contains("class/power_supply") == true)
            #expect(signals.load.whyUnknown?.contains("pressure/cpu") == true)
            #expect(signals.network.interface.whyUnknown?.contains("net/route") == true)
            #expect(signals.network.metered.whyUnknown?.contains("net/route") == true)
            #expect(signals.network.place.whyUnknown?.contains("net/route") == true)
        }
    }

    @Test func withoutABusTheKernelSaysWhatItKnows() async throws {
        let tree = try FixtureTree()
        let heading = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT\n"
        let route =
            "usb0 00000000 0114A8C0 0003 0 0 100 00000000 0 0 0\nusb0 0014A8C0 00000000 0001 0 0 0 00FFFFFF 0 0 0\n"
        try tree.write(heading + route, to: "net/route")
        try tree.write("192.168.20.1 0x1 0x2 52:54:00:12:34:56 * usb0\n", to: "net/arp")
        try tree.link("class/net/usb0/device/driver", to: "../../../bus/usb/drivers/ipheth")
        let paths = tree.paths
        try await Watched.with(paths: paths, bus: Self.noBus) { watched in
            let network = await watched.watch.current().network
            #expect(network.interface == .known("usb0") && network.metered == .known(.guessedYes))
            // FNV-1a of "gateway", address and subnet: it must stay the same.
            #expect(network.place == .known(HostPlace(id: "765c613513ae94e0", name: nil)))
        }
    }
}
