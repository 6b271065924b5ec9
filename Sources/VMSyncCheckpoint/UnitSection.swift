import VMSyncCore

/// The records of one section of units while it is written (docs/format/checkpoint.md, "Units").
///
/// Table and payload stand apart, because zstd finds more in each when they aren't mixed.
struct UnitSectionBuilder: ~Copyable {
    private(set) var count = 0
    private var table: [UInt8] = []
    private var payload: [UInt8] = []
    private var next = 0

    init() {
        payload.reserveCapacity(Limits.sectionTarget + Unit.size)
    }

    var rawLength: Int { 8 + table.count + payload.count }
    var isFull: Bool { rawLength >= Limits.sectionTarget }

    mutating func addZero(_ index: Int) { addRecord(index, .zero) }

    mutating func addWhole(_ index: Int, _ bytes: UnsafeRawBufferPointer) {
        addRecord(index, .whole)
        payload.append(contentsOf: bytes)
    }

    mutating func addDelta(_ index: Int, _ delta: UnsafeRawBufferPointer) {
        addRecord(index, .delta)
        Varint.append(UInt64(delta.count), to: &table)
        payload.append(contentsOf: delta)
    }

    private mutating func addRecord(_ index: Int, _ type: UnitRecord) {
        precondition(index >= next || count == 0, "units are added in rising order")
        Varint.append(UInt64(index - (count == 0 ? 0 : next)), to: &table)
        table.append(type.rawValue)
        next = index + 1
        count += 1
    }

    /// The raw bytes of the section; the builder is empty afterwards.
    mutating func take() -> [UInt8] {
        var raw: [UInt8] = []
        raw.reserveCapacity(rawLength)
        withUnsafeBytes(of: UInt32(count).littleEndian) { raw.append(contentsOf: $0) }
        withUnsafeBytes(of: UInt32(table.count).littleEndian) { raw.append(contentsOf: $0) }
        raw.append(contentsOf: table)
        raw.append(contentsOf: payload)
        table.removeAll(keepingCapacity: true)
        payload.removeAll(keepingCapacity: true)
        count = 0
        return raw
    }
}

/// How a unit is given.
package enum UnitRecord: UInt8, Sendable {
    case zero = 0
    case whole = 1
    case delta = 2
}

/// What a record makes of its unit; the bytes live as long as the call that hands them out.
package enum UnitChange {
    case zero
    case whole(UnsafeRawBufferPointer)
    case delta(UnsafeRawBufferPointer)
}

/// Reads the records of a section that may come from anybody.
struct UnitSectionReader {
    let raw: UnsafeRawBufferPointer
    /// Units that the memory or disk has.
    let unitCount: Int
    let allowsDelta: Bool

    /// Hands out every record in order, each checked before it is handed out.
    /// - Parameter next: the lowest index allowed; behind the last one afterwards.
    /// - Throws: `corrupt`, also for a byte left over at the end.
    func forEach(next: inout Int, _ body: (Int, UnitChange) throws(VMSyncError) -> Void) throws(VMSyncError) {
        guard raw.count >= 8 else { throw Self.damaged("it is too short") }
        let count = Int(UInt32(littleEndian: raw.loadUnaligned(as: UInt32.self)))
        let tableLength = Int(UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: 4, as: UInt32.self)))
        let tableEnd = 8 + tableLength
        guard tableEnd <= raw.count else { throw Self.damaged("its table is longer than it is") }
        var table = 8
        var payload = tableEnd
        for position in 0..<count {
            let index = try readIndex(at: &table, end: tableEnd, isFirst: position == 0, next: next)
            let change = try readChange(table: &table, end: tableEnd, payload: &payload)
            try body(index, change)
            next = index + 1
        }
        guard table == tableEnd, payload == raw.count else { throw Self.damaged("bytes are left over") }
    }

    private func readIndex(
        at offset: inout Int, end: Int, isFirst: Bool, next: Int
    ) throws(VMSyncError) -> Int {
        guard let gap = Varint.read(raw, at: &offset, end: end), gap < UInt64(unitCount) else {
            throw Self.damaged("an index is out of range")
        }
        let index = Int(gap) + (isFirst ? 0 : next)
        guard index < unitCount, index >= next else { throw Self.damaged("an index is out of range or out of order") }
        return index
    }

    private func readChange(table: inout Int, end: Int, payload: inout Int) throws(VMSyncError) -> UnitChange {
        guard table < end, let type = UnitRecord(rawValue: raw[table]) else {
            throw Self.damaged("a record has a type that this vmsync doesn't know")
        }
        table += 1
        switch type {
        case .zero:
            return .zero
        case .whole:
            return .whole(try take(Unit.size, from: &payload))
        case .delta:
            guard allowsDelta, let length = Varint.read(raw, at: &table, end: end), length <= UInt64(Unit.size) else {
                throw Self.damaged("a delta is not allowed here or too long")
            }
            let delta = try take(Int(length), from: &payload)
            guard Delta.isValid(delta) else { throw Self.damaged("a delta overruns its page") }
            return .delta(delta)
        }
    }

    private func take(_ length: Int, from offset: inout Int) throws(VMSyncError) -> UnsafeRawBufferPointer {
        guard length <= raw.count - offset else { throw Self.damaged("its payload is too short") }
        defer { offset += length }
        return UnsafeRawBufferPointer(rebasing: raw[offset..<offset + length])
    }

    static func damaged(_ reason: String) -> VMSyncError {
        VMSyncError(.corrupt, "a section of units is damaged: \(reason)")
    }
}
