import VMSyncCore

/// Reads the records of a section that may come from anybody (docs/format/checkpoint.md, "Units").
struct UnitSectionReader {
    private let raw: UnsafeRawBufferPointer
    private let space: UnitSpace
    private let definition: MachineDefinition
    private let count: Int
    private let unitCount: Int
    private var kinds: Column
    private var gaps: Column
    private var references: Column
    private var places: Column
    private var data: Column
    private var steps = ReferenceSteps()

    /// A part of `raw` that is read from its start to its end.
    private struct Column {
        var offset: Int
        let end: Int
        var isAtEnd: Bool { offset == end }
    }

    /// - Throws: `corrupt` if the columns don't fill `raw`.
    init(_ raw: UnsafeRawBufferPointer, of space: UnitSpace, in definition: MachineDefinition) throws(VMSyncError) {
        guard raw.count >= UnitSectionBuilder.headerLength else { throw Self.damaged("it is too short") }
        var lengths = InlineArray<4, Int>(repeating: 0)
        for column in lengths.indices {
            lengths[column] = Int(
                UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: column * 4, as: UInt32.self)))
        }
        var end = UnitSectionBuilder.headerLength
        func column(_ length: Int) throws(VMSyncError) -> Column {
            guard length <= raw.count - end else { throw Self.damaged("a column is longer than it is") }
            defer { end += length }
            return Column(offset: end, end: end + length)
        }
        data = try column(lengths[1])
        kinds = try column(lengths[0])
        gaps = try column(lengths[2])
        references = try column(lengths[3])
        places = try column(raw.count - end)
        self.raw = raw
        self.space = space
        self.definition = definition
        count = lengths[0]
        unitCount = definition.unitCount(of: space)
    }

    /// Hands out every record in order, each checked before it is handed out.
    /// - Parameters:
    ///   - named: the units that earlier records of the pack name; those of this section are added.
    ///   - page: memory for one unit, used while a record is handed out.
    /// - Throws: `corrupt`, also for a byte left over at the end.
    mutating func forEach(
        named: inout NamedUnits, page: UnsafeMutableRawBufferPointer,
        _ body: (Int, UnitValue) throws(VMSyncError) -> Void
    ) throws(VMSyncError) {
        var next = 0
        for position in 0..<count {
            let index = try readIndex(isFirst: position == 0, next: next)
            next = index + 1
            let value = try readValue(index, named, page)
            guard named.add(space, index) else { throw Self.damaged("its units are out of order") }
            try body(index, value)
        }
        guard gaps.isAtEnd, references.isAtEnd, places.isAtEnd, data.isAtEnd else {
            throw Self.damaged("bytes are left over")
        }
    }

    private mutating func readIndex(isFirst: Bool, next: Int) throws(VMSyncError) -> Int {
        guard let gap = Varint.read(raw, at: &gaps.offset, end: gaps.end), gap < UInt64(unitCount),
            Int(gap) + next < unitCount
        else { throw Self.damaged("an index is out of range") }
        return Int(gap) + next
    }

    private mutating func readValue(
        _ index: Int, _ named: NamedUnits, _ page: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) -> UnitValue {
        let kind = raw[kinds.offset]
        kinds.offset += 1
        guard kind & ~(SourceCode.runsFlag | SourceCode.sourceMask) == 0,
            let code = SourceCode(rawValue: kind & SourceCode.sourceMask)
        else { throw Self.damaged("a record has a source that this vmsync doesn't know") }
        let hasRuns = kind & SourceCode.runsFlag != 0
        let source = try readSource(code, index, named, page)
        guard hasRuns else {
            guard code != .own else { throw Self.damaged("a record changes nothing") }
            return UnitValue(source)
        }
        return UnitValue(source, runs: try readRuns())
    }

    private mutating func readSource(
        _ code: SourceCode, _ index: Int, _ named: NamedUnits, _ page: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) -> UnitSource {
        switch code {
        case .zero: return .zero
        case .own: return .own
        case .whole: return .whole(try takeData(Unit.size))
        case .pixels: return .whole(PageForm.pixels.restore(try takeData(Unit.size), to: page))
        case .samples: return .whole(PageForm.samples.restore(try takeData(Unit.size), to: page))
        case .base:
            let unit = try readReference(code, index)
            guard case .disk(let disk) = unit.space else { throw Self.damaged("a base block has no disk") }
            return .base(disk: disk, block: unit.index)
        case .memory, .disk:
            return .parent(try readReference(code, index))
        case .newMemory, .newDisk:
            let unit = try readReference(code, index)
            guard named.contains(unit) else { throw Self.damaged("a record refers to one that isn't before it") }
            return .new(unit)
        }
    }

    private mutating func readReference(_ code: SourceCode, _ index: Int) throws(VMSyncError) -> UnitID {
        var space = UnitSpace.memory
        if code.namesDisk {
            guard let disk = Varint.read(raw, at: &references.offset, end: references.end),
                disk < UInt64(definition.disks.count)
            else { throw Self.damaged("a reference is outside the disks") }
            space = .disk(Int(disk))
        }
        guard let step = Varint.read(raw, at: &references.offset, end: references.end),
            let target = steps.target(step, from: index, code), target >= 0,
            target < definition.unitCount(of: space)
        else { throw Self.damaged("a reference is outside its memory or disk") }
        return UnitID(space, target)
    }

    private mutating func readRuns() throws(VMSyncError) -> Runs {
        guard let count = Varint.read(raw, at: &places.offset, end: places.end), count > 0 else {
            throw Self.damaged("a record has no run")
        }
        let start = places.offset
        var position = 0
        var length = 0
        // Every run takes a byte at least, so no count is too large: the places end first.
        for _ in 0..<count {
            guard let skip = Varint.read(raw, at: &places.offset, end: places.end),
                let bytes = Varint.read(raw, at: &places.offset, end: places.end), bytes > 0,
                skip <= UInt64(Unit.size - position), bytes <= UInt64(Unit.size - position) - skip
            else { throw Self.damaged("a run leaves its unit") }
            position += Int(skip + bytes)
            length += Int(bytes)
        }
        return Runs(
            places: UnsafeRawBufferPointer(rebasing: raw[start..<places.offset]), bytes: try takeData(length))
    }

    private mutating func takeData(_ length: Int) throws(VMSyncError) -> UnsafeRawBufferPointer {
        guard length <= data.end - data.offset else { throw Self.damaged("its data is too short") }
        defer { data.offset += length }
        return UnsafeRawBufferPointer(rebasing: raw[data.offset..<data.offset + length])
    }

    static func damaged(_ reason: String) -> VMSyncError {
        VMSyncError(.corrupt, "a section of units is damaged: \(reason)")
    }
}

/// The units that a pack has named so far, as runs: they rise within each space.
struct NamedUnits {
    private var memory = IndexRuns()
    private var disks: [IndexRuns] = []

    func contains(_ unit: UnitID) -> Bool {
        switch unit.space {
        case .memory: memory.contains(unit.index)
        case .disk(let disk): disk < disks.count && disks[disk].contains(unit.index)
        }
    }

    /// False if `index` doesn't lie behind all that were added of its space.
    mutating func add(_ space: UnitSpace, _ index: Int) -> Bool {
        switch space {
        case .memory: return memory.add(index)
        case .disk(let disk):
            while disks.count <= disk { disks.append(IndexRuns()) }
            return disks[disk].add(index)
        }
    }
}

/// Rising indices as runs without overlap.
package struct IndexRuns: Sendable {
    package private(set) var runs: [Range<Int>] = []

    package init() {}

    /// Adds `index`, which must lie behind all others: false if it doesn't.
    @discardableResult
    package mutating func add(_ index: Int) -> Bool {
        guard let last = runs.last, last.upperBound >= index else {
            runs.append(index..<index + 1)
            return true
        }
        guard last.upperBound == index else { return false }
        runs[runs.count - 1] = last.lowerBound..<index + 1
        return true
    }

    package func contains(_ index: Int) -> Bool { Self.find(index, in: runs) != nil }

    /// The position of the run of `runs`, which rise without overlap, that holds `index`.
    package static func find(_ index: Int, in runs: [Range<Int>]) -> Int? {
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upperBound <= index { low = middle + 1 } else { high = middle }
        }
        return low < runs.count && runs[low].contains(index) ? low : nil
    }
}
