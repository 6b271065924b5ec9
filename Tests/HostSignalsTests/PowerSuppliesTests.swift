import HostSignals
import Testing

@Suite("What the host lives on") struct PowerSuppliesTests {
    private static let battery = [
        "type": "Battery", "scope": "System", "present": "1", "status": "Discharging", "energy_now": "20000000",
        "energy_full": "50000000", "capacity": "40",
    ]

    private func with(_ changes: [String: String?]) -> [String: String] {
        var files = Self.battery
        for (file, word) in changes { files[file] = word }
        return files
    }

    private func power(_ supplies: [String: [String: String]]) throws -> HostPower? {
        let tree = try FixtureTree()
        try tree.folder("class/power_supply")
        for (name, files) in supplies { try tree.supply(name, files) }
        return PowerSupplies.read(root: tree.root).value
    }

    @Test func aHostWithoutSuppliesIsOnMains() throws {
        #expect(try power([:]) == HostPower(source: .mains, level: nil))
    }

    @Test func aKernelThatShowsNoSuppliesIsUnknown() throws {
        let tree = try FixtureTree()
        let reason = PowerSupplies.read(root: tree.root).whyUnknown
        #expect(reason?.contains("class/power_supply: No such file or directory") == true)
    }

    @Test func aBatteryThatIsEmptiedIsOnBattery() throws {
        #expect(try power(["BAT0": Self.battery]) == HostPower(source: .battery, level: 0.4))
        let unplugged = ["type": "Mains", "online": "0"]
        #expect(try power(["BAT0": Self.battery, "AC": unplugged]) == HostPower(source: .battery, level: 0.4))
    }

    @Test(arguments: ["1", "2"]) func whoIsFedIsOnMains(online: String) throws {
        let charger = ["type": "Mains", "online": online]
        // A weak charger: the battery is emptied all the same.
        #expect(try power(["BAT0": Self.battery, "AC": charger]) == HostPower(source: .mains, level: 0.4))
    }

    @Test(arguments: ["Full", "Charging", "Not charging", "Unknown"])
    func aBatteryThatIsNotEmptiedIsOnMains(status: String) throws {
        #expect(try power(["BAT0": with(["status": status])])?.source == .mains)
    }

    @Test func oneOfTwoBatteriesIsEmptiedFirst() throws {
        let large = with(["status": "Unknown", "energy_now": "90000000", "energy_full": "100000000"])
        #expect(try power(["BAT0": Self.battery, "BAT1": large]) == HostPower(source: .battery, level: 110.0 / 150))
    }

    @Test func chargeIsAddedUpLikeEnergy() throws {
        let charge = with(["energy_now": nil, "energy_full": nil, "charge_now": "3000000", "charge_full": "4000000"])
        #expect(try power(["BAT0": charge])?.level == 0.75)
        let small = charge.merging(["charge_now": "1000000", "charge_full": "1000000"]) { $1 }
        #expect(try power(["BAT0": charge, "BAT1": small])?.level == 0.8)
    }

    @Test func energyAndChargeAreAddedUpByVoltage() throws {
        let charge = with([
            "energy_now": nil, "energy_full": nil, "charge_now": "5000000", "charge_full": "5000000",
            "voltage_now": "10000000",
        ])
        // 5 Ah at 10 V are 50 Wh.
        #expect(try power(["BAT0": Self.battery, "BAT1": charge])?.level == 0.7)
        // Without a voltage only the capacities are left: 40 % and 40 %.
        #expect(try power(["BAT0": Self.battery, "BAT1": charge.filter { $0.key != "voltage_now" }])?.level == 0.4)
    }

    @Test func aCapacityOfMoreThanAllIsAll() throws {
        let files = with(["energy_now": nil, "energy_full": nil, "capacity": "104"])
        #expect(try power(["BAT0": files])?.level == 1)
        #expect(try power(["BAT0": with(["energy_now": "51000000"])])?.level == 1)
    }

    @Test func aBatteryThatSaysNothingHasNoLevel() throws {
        let files = ["type": "Battery", "status": "Discharging"]
        #expect(try power(["BAT0": files]) == HostPower(source: .battery, level: nil))
    }

    @Test func theBatteryOfAMouseIsNotOurs() throws {
        let mouse = ["type": "Battery", "scope": "Device", "status": "Discharging", "capacity": "8"]
        #expect(try power(["hidpp_battery_0": mouse]) == HostPower(source: .mains, level: nil))
        #expect(try power(["hidpp_battery_0": mouse, "BAT0": Self.battery])?.level == 0.4)
    }

    @Test func theChargerOfATabletIsNotOurs() throws {
        let cradle = ["type": "Mains", "scope": "Device", "online": "1"]
        #expect(try power(["wacom_ac_0": cradle, "BAT0": Self.battery])?.source == .battery)
    }

    @Test func anEmptyBayIsNoBattery() throws {
        #expect(try power(["BAT0": with(["present": "0"])]) == HostPower(source: .mains, level: nil))
    }

    @Test func aBatteryThatIsBeingPulledIsLeftOut() throws {
        let tree = try FixtureTree()
        try tree.supply("BAT0", Self.battery)
        // A file that can't be read, as all of them then: ENODEV on the kernel's, EISDIR here.
        try tree.folder("class/power_supply/BAT1/type")
        // One that is only a name by now.
        try tree.link("class/power_supply/BAT2", to: "../../devices/gone")
        let power = PowerSupplies.read(root: tree.root).value
        #expect(power == HostPower(source: .battery, level: 0.4))
    }

    /// A USB supply beside a Type-C port, as /sys has it: the class folder holds a link to the device's.
    private func powerBesidePort(role: String) throws -> HostPower? {
        let tree = try FixtureTree()
        try tree.supply("BAT0", Self.battery)
        let device = "devices/platform/USBC000:00"
        for (file, word) in ["type": "USB", "online": "1"] {
            try tree.write("\(word)\n", to: "\(device)/power_supply/ucsi-source-psy-1/\(file)")
        }
        try tree.write("\(role)\n", to: "\(device)/typec/port0/power_role")
        try tree.link(
            "class/power_supply/ucsi-source-psy-1", to: "../../\(device)/power_supply/ucsi-source-psy-1")
        return PowerSupplies.read(root: tree.root).value
    }

    @Test func aTelephoneThatTheHostChargesIsNoCharger() throws {
        #expect(try powerBesidePort(role: "[source] sink")?.source == .battery)
    }

    @Test func aPortThatTakesPowerIsACharger() throws {
        #expect(try powerBesidePort(role: "source [sink]")?.source == .mains)
    }

    @Test func usbWithoutATypeCPortIsACharger() throws {
        #expect(try power(["BAT0": Self.battery, "usb": ["type": "USB", "online": "1"]])?.source == .mains)
    }
}
