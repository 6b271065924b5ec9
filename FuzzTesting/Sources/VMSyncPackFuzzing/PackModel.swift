import VMSyncCheckpoint
import VMSyncCore

/// The state of a VM that never was: a pattern where nothing was assigned. Only what packs name takes memory.
struct ModelState: Equatable {
    /// Whether memory is zero where `units` doesn't say otherwise; else it is a pattern.
    private(set) var memoryIsZero: Bool
    /// Whether no block is present where `units` doesn't say otherwise; else every other one is.
    private(set) var disksAreBase: Bool
    private(set) var units: [UnitID: [UInt8]] = [:]

    static let start = ModelState(memoryIsZero: false, disksAreBase: false)
    static let base = ModelState(memoryIsZero: true, disksAreBase: true)
    private static let zeros = [UInt8](repeating: 0, count: Unit.size)

    static func baseBlock(_ disk: Int, _ block: Int) -> [UInt8] { pattern(block &* 53 &+ disk &+ 3) }

    private static func pattern(_ number: Int) -> [UInt8] {
        [UInt8](repeating: UInt8(truncatingIfNeeded: number), count: Unit.size)
    }

    /// Nil for a block that isn't present.
    func content(of unit: UnitID) -> [UInt8]? {
        if let content = units[unit] { return content }
        switch unit.space {
        case .memory: return memoryIsZero ? Self.zeros : Self.pattern(unit.index &* 37 &+ 11)
        case .disk(let disk):
            return disksAreBase || unit.index % 2 == 0 ? nil : Self.pattern(unit.index &* 29 &+ disk &+ 7)
        }
    }

    func bytes(of unit: UnitID) -> [UInt8] {
        if let content = content(of: unit) { return content }
        guard case .disk(let disk) = unit.space else { return Self.zeros }
        return Self.baseBlock(disk, unit.index)
    }

    mutating func clearMemory() {
        memoryIsZero = true
        units = units.filter { $0.key.space != .memory }
    }

    mutating func assign(_ content: [UInt8], to unit: UnitID) { units[unit] = content }

    static func == (left: ModelState, right: ModelState) -> Bool {
        guard left.memoryIsZero == right.memoryIsZero, left.disksAreBase == right.disksAreBase else { return false }
        // In one call: the sanitizers watch each comparison, and those of all bytes took a fifth of the fuzzer's time.
        func isSame(_ unit: UnitID) -> Bool {
            guard let mine = left.content(of: unit), let theirs = right.content(of: unit) else {
                return left.content(of: unit) == nil && right.content(of: unit) == nil
            }
            return mine.withRawBytes { mine in theirs.withRawBytes { mine.holdsSame(as: $0) } }
        }
        return left.units.keys.allSatisfy(isSame) && right.units.keys.allSatisfy(isSame)
    }
}

extension ModelState {
    func after(_ pack: [UInt8]) throws(VMSyncError) -> ModelState {
        try pack.withRawBytes { bytes throws(VMSyncError) in try PackModel(PackReader(bytes), after: self).state }
    }
}

/// What a pack does to a state by the words of docs/format/checkpoint.md. It knows nothing of how packs are merged or
/// applied.
struct PackModel {
    private(set) var state: ModelState
    /// The units that whoever applies the pack must save.
    private(set) var stash: Set<UnitID> = []
    /// What a reader must not hand out; nil if it didn't.
    private(set) var complaint: String?

    init(_ reader: PackReader, after parent: ModelState) throws(VMSyncError) {
        let parent = reader.manifest.isKeyframe ? .base : parent
        var (state, named, sources): (ModelState, Set<UnitID>, Set<UnitID>) = (parent, [], [])
        var last = UnitID(.memory, -1)
        var complaint: String?
        if reader.clearsMemory { state.clearMemory() }
        try reader.forEachUnit { unit, value throws(VMSyncError) in
            if !(last < unit) { complaint = "units out of order" }
            last = unit
            var content = parent.bytes(of: unit)
            switch value.source {
            case .zero: content = [UInt8](repeating: 0, count: Unit.size)
            case .whole(let bytes): content = Array(bytes)
            case .own: if value.runs.isEmpty { complaint = "a unit that is its own without a change" }
            case .base(let disk, let block): content = ModelState.baseBlock(disk, block)
            case .parent(let source):
                content = parent.bytes(of: source)
                sources.insert(source)
            case .new(let source):
                content = state.bytes(of: source)
                if !named.contains(source) { complaint = "a new unit that isn't there yet" }
            }
            for place in value.places + [unit] where !reader.manifest.definition.has(place) {
                complaint = "a unit outside the machine"
            }
            value.runs.forEach { position, bytes in
                content.replaceSubrange(position..<position + bytes.count, with: bytes)
            }
            if content.count != Unit.size { complaint = "a unit of another size" }
            named.insert(unit)
            state.assign(content, to: unit)
        }
        self.state = state
        self.complaint = complaint
        stash = sources.filter { named.contains($0) || (reader.clearsMemory && $0.space == .memory) }
    }
}

extension UnitValue {
    /// The units that it refers to.
    fileprivate var places: [UnitID] {
        switch source {
        case .zero, .whole, .own: []
        case .base(let disk, let block): [UnitID(.disk(disk), block)]
        case .parent(let unit), .new(let unit): [unit]
        }
    }
}

extension MachineDefinition {
    fileprivate func has(_ unit: UnitID) -> Bool {
        if case .disk(let disk) = unit.space, !disks.indices.contains(disk) { return false }
        return (0..<unitCount(of: unit.space)).contains(unit.index)
    }
}
