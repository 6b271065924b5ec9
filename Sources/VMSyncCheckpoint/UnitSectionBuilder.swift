import VMSyncCore

/// The records of one section of units while it is written (docs/format/checkpoint.md, "Units").
///
/// The content goes straight to its place; the columns, which are short, are put behind it at the end.
struct UnitSectionBuilder: ~Copyable {
    private(set) var count = 0
    /// The section as far as it stands: room for the header, then the column `data`.
    private var raw: [UInt8] = []
    private var kinds: [UInt8] = []
    private var gaps: [UInt8] = []
    private var references: [UInt8] = []
    private var places: [UInt8] = []
    private var next = 0
    private var steps = ReferenceSteps()

    /// Lengths of the columns before them, four bytes each.
    static let headerLength = 16

    init() {
        raw.reserveCapacity(Limits.sectionTarget + 2 * Unit.size)
        raw.append(contentsOf: repeatElement(0, count: Self.headerLength))
    }

    var isFull: Bool {
        raw.count + kinds.count + gaps.count + references.count + places.count >= Limits.sectionTarget
    }

    mutating func add(_ index: Int, _ value: UnitValue, form: PageForm = .plain, runCount: Int = 0) {
        precondition(index >= next || count == 0, "units are added in rising order")
        Varint.append(UInt64(index - (count == 0 ? 0 : next)), to: &gaps)
        next = index + 1
        count += 1
        let code = addSource(value.source, form, index: index)
        kinds.append(code.rawValue | (runCount > 0 ? SourceCode.runsFlag : 0))
        guard runCount > 0 else { return }
        Varint.append(UInt64(runCount), to: &places)
        places.append(contentsOf: value.runs.places)
        raw.append(contentsOf: value.runs.bytes)
    }

    private mutating func addSource(_ source: UnitSource, _ form: PageForm, index: Int) -> SourceCode {
        switch source {
        case .zero: return .zero
        case .own: return .own
        case .whole(let bytes):
            form.append(bytes, to: &raw)
            return form.code
        case .base(let disk, let block): return addReference(.base, disk: disk, block, index: index)
        case .parent(let unit): return addReference(unit, memory: .memory, disk: .disk, index: index)
        case .new(let unit): return addReference(unit, memory: .newMemory, disk: .newDisk, index: index)
        }
    }

    private mutating func addReference(
        _ unit: UnitID, memory: SourceCode, disk diskCode: SourceCode, index: Int
    ) -> SourceCode {
        switch unit.space {
        case .memory: addReference(memory, disk: nil, unit.index, index: index)
        case .disk(let disk): addReference(diskCode, disk: disk, unit.index, index: index)
        }
    }

    private mutating func addReference(_ code: SourceCode, disk: Int?, _ target: Int, index: Int) -> SourceCode {
        if let disk { Varint.append(UInt64(disk), to: &references) }
        Varint.append(steps.step(to: target, from: index, code), to: &references)
        return code
    }

    /// Calls `body` with the raw bytes of the section; the builder is empty afterwards.
    mutating func take(_ body: (UnsafeRawBufferPointer) throws(VMSyncError) -> Void) throws(VMSyncError) {
        let lengths = [count, raw.count - Self.headerLength, gaps.count, references.count]
        raw.withUnsafeMutableBytes { raw in
            for (column, length) in lengths.enumerated() {
                raw.storeBytes(of: UInt32(length).littleEndian, toByteOffset: column * 4, as: UInt32.self)
            }
        }
        for column in [kinds, gaps, references, places] { raw.append(contentsOf: column) }
        defer { removeAll() }
        try raw.withRawBytes(body)
    }

    /// Empties the builder; its memory stays for the next section.
    mutating func removeAll() {
        raw.removeLast(raw.count - Self.headerLength)
        kinds.removeAll(keepingCapacity: true)
        gaps.removeAll(keepingCapacity: true)
        references.removeAll(keepingCapacity: true)
        places.removeAll(keepingCapacity: true)
        steps = ReferenceSteps()
        count = 0
    }
}

/// References are written as how far they are from where the last one of the same source would lead on.
struct ReferenceSteps {
    private var distances = InlineArray<10, Int>(repeating: 0)

    /// The varint for a reference of unit `index` to `target`.
    mutating func step(to target: Int, from index: Int, _ code: SourceCode) -> UInt64 {
        let distance = target - index
        defer { distances[Int(code.rawValue)] = distance }
        let step = distance - distances[Int(code.rawValue)]
        return UInt64(bitPattern: Int64(step << 1 ^ step >> 63))
    }

    /// The target that `step` says; nil if no number of a unit can be meant.
    mutating func target(_ step: UInt64, from index: Int, _ code: SourceCode) -> Int? {
        let (high, low) = (Int64(bitPattern: step >> 1), Int64(bitPattern: step & 1))
        let (distance, overflow) = distances[Int(code.rawValue)].addingReportingOverflow(Int(high ^ -low))
        guard !overflow, distance.magnitude < Self.distanceMax else { return nil }
        distances[Int(code.rawValue)] = distance
        return index + distance
    }

    /// No two units are further apart: 2^32 blocks of the largest disk.
    private static let distanceMax: UInt = 1 << 33
}
