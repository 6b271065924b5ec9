/// One folder of /sys/class/power_supply. (Linux, Documentation/ABI/testing/sysfs-class-power)
struct PowerSupply: Sendable, Hashable {
    /// It powers the host, or is charged with it: not the battery of a mouse, nor a telephone that the host charges.
    let isOurs: Bool
    /// Anything else is a way in: Mains, USB, UPS, Wireless.
    let isBattery: Bool
    /// Of a way in: whether power comes. 2 counts too: a charger whose voltage was agreed on.
    let isOnline: Bool
    /// Of a battery: whether it is being emptied.
    let isDischarging: Bool
    let charge: BatteryCharge

    /// - Returns: nil if it can't be read: a battery that is being pulled, or has just been put in.
    init?(folder: String) {
        guard let type = KernelFile.word("\(folder)/type") else { return nil }
        isBattery = type == "Battery"
        // No scope, or an unknown one, is the system's, as UPower has it.
        let isDevices = KernelFile.word("\(folder)/scope") == "Device"
        let isAbsent = KernelFile.number("\(folder)/present") == 0
        isOurs = !isDevices && !(isBattery && isAbsent) && (type != "USB" || Self.takesPower(folder))
        isOnline = (KernelFile.number("\(folder)/online") ?? 0) > 0
        isDischarging = KernelFile.word("\(folder)/status") == "Discharging"
        charge = isBattery ? BatteryCharge(folder: folder) : BatteryCharge()
    }

    /// Whether the Type-C ports beside a USB supply take power. One that gives it is "online" too: then its supply is
    /// what the host charges, not what charges the host. Without such ports it takes.
    private static func takesPower(_ folder: String) -> Bool {
        // Class folders are links: the kernel resolves them before the dots.
        let ports = "\(folder)/../../typec"
        let roles = ((try? KernelFile.names(ports)) ?? []).compactMap { KernelFile.word("\(ports)/\($0)/power_role") }
        return roles.contains { $0.contains("[sink]") } || !roles.contains { $0.contains("[source]") }
    }
}

/// What a battery says of how full it is. Firmware gives energy or charge, seldom both.
struct BatteryCharge: Sendable, Hashable {
    /// Now and when full, in µWh.
    var energy: Amount?
    /// Now and when full, in µAh.
    var charge: Amount?
    /// In µV.
    var voltage: Int64?
    /// 0...100, as it should be; more occurs.
    var capacity: Int64?

    struct Amount: Sendable, Hashable {
        let now: Double
        let full: Double
    }

    init() {}

    init(folder: String) {
        energy = Self.amount(folder, "energy")
        charge = Self.amount(folder, "charge")
        voltage = KernelFile.number("\(folder)/voltage_now").flatMap { $0 > 0 ? $0 : nil }
        capacity = KernelFile.number("\(folder)/capacity").flatMap { $0 >= 0 ? $0 : nil }
    }

    private static func amount(_ folder: String, _ kind: String) -> Amount? {
        guard let now = KernelFile.number("\(folder)/\(kind)_now"), now >= 0,
            let full = KernelFile.number("\(folder)/\(kind)_full"), full > 0
        else { return nil }
        return Amount(now: Double(now), full: Double(full))
    }

    /// Energy, or charge at the voltage of now; to add a battery that gives one to a battery that gives the other.
    var comparable: Amount? {
        if let energy { return energy }
        guard let charge, let voltage else { return nil }
        let volts = Double(voltage) / 1e6
        return Amount(now: charge.now * volts, full: charge.full * volts)
    }

    /// 0...1, of this battery alone.
    var level: Double? {
        if let capacity { return min(Double(capacity) / 100, 1) }
        return (energy ?? charge).map { min($0.now / $0.full, 1) }
    }
}
