/// All power supplies of the host, and what follows from them.
package enum PowerSupplies {
    /// Reads `class/power_supply` below `root`. May take long: some firmware is slow to answer for its batteries.
    /// - Parameter root: `/sys`.
    package static func read(root: String) -> Reading<HostPower> {
        let folder = "\(root)/class/power_supply"
        do {
            let supplies = try KernelFile.names(folder).compactMap { PowerSupply(folder: "\(folder)/\($0)") }
            return .known(power(of: supplies))
        } catch {
            return .unknown("the kernel shows no power supplies: \(error.words)")
        }
    }

    /// systemd's rule (`on_ac_power` in battery-util.c): who is fed is on mains; else who is emptied is on battery; and
    /// who is neither is on mains: a computer without batteries, or one whose charger keeps the battery at 80 %. Of two
    /// batteries one is often emptied while the other says "Unknown" or "Not charging".
    static func power(of supplies: [PowerSupply]) -> HostPower {
        let ours = supplies.filter(\.isOurs)
        let batteries = ours.filter(\.isBattery)
        let isFed = ours.contains { !$0.isBattery && $0.isOnline }
        let isEmptied = batteries.contains(where: \.isDischarging)
        return HostPower(source: !isFed && isEmptied ? .battery : .mains, level: level(of: batteries.map(\.charge)))
    }

    /// Batteries are of different size, so what they hold is added up where they all say it in one unit.
    private static func level(of batteries: [BatteryCharge]) -> Double? {
        share(batteries.map(\.energy)) ?? share(batteries.map(\.charge)) ?? share(batteries.map(\.comparable))
            ?? mean(batteries.compactMap(\.level))
    }

    private static func share(_ amounts: [BatteryCharge.Amount?]) -> Double? {
        let known = amounts.compactMap(\.self)
        guard !known.isEmpty, known.count == amounts.count else { return nil }
        return min(known.map(\.now).reduce(0, +) / known.map(\.full).reduce(0, +), 1)
    }

    private static func mean(_ levels: [Double]) -> Double? {
        levels.isEmpty ? nil : levels.reduce(0, +) / Double(levels.count)
    }
}
