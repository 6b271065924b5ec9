import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// A small VM's state as a plain table, and what a pack does to it by the words of docs/format/checkpoint.md: the oracle
/// for merges. It knows nothing of how packs are merged or applied.
struct ModelState: Equatable {
    /// Nil is a block that isn't present.
    private(set) var units: [UnitID: [UInt8]?]

    static let spaces: [(space: UnitSpace, units: Int)] = [(.memory, 6), (.disk(0), 5), (.disk(1), 3)]
    static let all = spaces.flatMap { space, count in (0..<count).map { UnitID(space, $0) } }
    static let zeros = [UInt8](repeating: 0, count: Unit.size)

    /// Memory zero, no block present.
    static let base = ModelState(
        units: Dictionary(uniqueKeysWithValues: all.map { ($0, $0.space == .memory ? .some(zeros) : .none) }))

    static func baseBlock(_ disk: Int, _ block: Int) -> [UInt8] {
        [UInt8](repeating: UInt8(100 + disk * 16 + block), count: Unit.size)
    }

    func content(of unit: UnitID) -> [UInt8] {
        if let content = units[unit] ?? nil { return content }
        if case .disk(let disk) = unit.space { return Self.baseBlock(disk, unit.index) }
        return Self.zeros
    }

    func after(_ pack: PackContent) -> ModelState {
        let parent = pack.startsAtBase ? .base : self
        var after = parent
        if pack.clearsMemory {
            for unit in Self.all where unit.space == .memory { after.units[unit] = .some(Self.zeros) }
        }
        for (unit, value) in pack.values {
            var content: [UInt8]
            switch value.source {
            case .zero: content = Self.zeros
            case .whole(let page): content = page.withBytes { Array($0) }
            case .base(let disk, let block): content = Self.baseBlock(disk, block)
            case .parent(let source): content = parent.content(of: source)
            }
            value.patch?.apply(to: &content)
            after.units[unit] = .some(content)
        }
        return after
    }
}

extension PackContent {
    /// Some values of every kind, often of the same few units, so that they meet.
    static func random(_ random: inout SeededRandom, mayStartAtBase: Bool = true) -> PackContent {
        var content = PackContent(
            startsAtBase: mayStartAtBase && random.oneIn(20), clearsMemory: random.oneIn(12), values: [:])
        for _ in 0..<random.number(0..<8) {
            let unit = ModelState.all[random.number(0..<ModelState.all.count)]
            content.values[unit] = Value(randomSource(&random), random.oneIn(3) ? randomPatch(&random) : nil)
        }
        return content
    }

    private static func randomSource(_ random: inout SeededRandom) -> Source {
        switch random.number(0..<8) {
        case 0: return .zero
        case 1, 2: return .whole(Page([UInt8](repeating: UInt8(random.number(1..<6)), count: Unit.size)))
        case 3:
            let disk = random.number(0..<2)
            return .base(disk: disk, block: random.number(0..<ModelState.spaces[disk + 1].units))
        default: return .parent(ModelState.all[random.number(0..<ModelState.all.count)])
        }
    }

    private static func randomPatch(_ random: inout SeededRandom) -> Patch {
        var mask = [Bool](repeating: false, count: Unit.size)
        for _ in 0..<random.number(1..<4) {
            let start = random.number(0..<Unit.size)
            for position in start..<min(Unit.size, start + random.number(1..<20)) { mask[position] = true }
        }
        return Patch([UInt8](repeating: UInt8(random.number(0..<256)), count: Unit.size), where: mask)
    }
}
