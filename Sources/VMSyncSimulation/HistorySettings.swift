/// What one history is like: how many devices, how fast, which faults and how many. Drawn from its seed.
struct HistorySettings {
    var deviceCount = 3
    /// Milliseconds between two checkpoints of a running guest.
    var interval = 1000
    /// Milliseconds that the world stays unquiet; then everything is mended, and it must converge.
    var unquiet = 30_000
    /// Milliseconds between two things that the person does, at most.
    var personGap = 6000
    /// Milliseconds between two faults of the world, at most.
    var faultGap = 8000
    /// In so many of 10,000 messages and writes one goes wrong, of each kind that is enabled.
    var rate = 0
    /// Bits by `FaultKind.rawValue`.
    private var enabled: UInt32 = 0

    /// Without faults, for tests that make their own.
    init() {}

    init(drawnFrom random: inout SeededRandom) {
        deviceCount = [2, 3, 3, Names.devicesMax][random.below(4)]
        interval = [500, 1000, 2000][random.below(3)]
        unquiet = random.within(6...24) * 1000
        personGap = random.within(1...8) * 500
        faultGap = random.within(1...12) * 500
        rate = [0, 50, 200, 600][random.below(4)]
        enabled = UInt32(truncatingIfNeeded: random.next())
    }

    /// One of those that this history has and that happen by themselves.
    func someOwnFault(_ random: inout SeededRandom) -> FaultKind? {
        let first = random.below(FaultKind.own.count)
        for step in FaultKind.own.indices {
            let kind = FaultKind.own[(first + step) % FaultKind.own.count]
            if allows(kind) { return kind }
        }
        return nil
    }

    func allows(_ kind: FaultKind) -> Bool { enabled & (1 << UInt32(kind.rawValue)) != 0 }

    /// From now on nothing goes wrong.
    mutating func calmDown() {
        enabled = 0
        rate = 0
    }
}
