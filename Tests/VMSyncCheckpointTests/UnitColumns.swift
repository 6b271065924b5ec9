/// One record of a section of units, by what it puts into each column (docs/format/checkpoint.md, "Units").
struct UnitRecord {
    var gap: UInt64
    /// The source and the flag of runs.
    var kind: UInt8
    var data: [UInt8] = []
    /// `(disk)? step`
    var reference: [UInt64] = []
    /// `count (skip count) × count`
    var places: [UInt64] = []

    static let runsFlag: UInt8 = 0x10

    static func zero(gap: UInt64 = 0) -> UnitRecord { UnitRecord(gap: gap, kind: 0) }
    static func whole(gap: UInt64 = 0, _ page: [UInt8]) -> UnitRecord { UnitRecord(gap: gap, kind: 1, data: page) }

    /// - Parameter stored: the differences, not the page.
    static func pixels(gap: UInt64 = 0, _ stored: [UInt8]) -> UnitRecord { UnitRecord(gap: gap, kind: 2, data: stored) }

    /// - Parameter stored: the differences, not the page.
    static func samples(gap: UInt64 = 0, _ stored: [UInt8]) -> UnitRecord {
        UnitRecord(gap: gap, kind: 9, data: stored)
    }

    static func own(gap: UInt64 = 0, _ runs: (skip: UInt64, bytes: [UInt8])...) -> UnitRecord {
        UnitRecord(gap: gap, kind: 3).with(runs)
    }

    static func base(gap: UInt64 = 0, disk: UInt64 = 0, step: Int) -> UnitRecord {
        UnitRecord(gap: gap, kind: 4, reference: [disk, zigzag(step)])
    }

    static func memory(gap: UInt64 = 0, step: Int) -> UnitRecord {
        UnitRecord(gap: gap, kind: 5, reference: [zigzag(step)])
    }

    static func disk(gap: UInt64 = 0, disk: UInt64 = 0, step: Int) -> UnitRecord {
        UnitRecord(gap: gap, kind: 6, reference: [disk, zigzag(step)])
    }

    static func newMemory(gap: UInt64 = 0, step: Int) -> UnitRecord {
        UnitRecord(gap: gap, kind: 7, reference: [zigzag(step)])
    }

    static func newDisk(gap: UInt64 = 0, disk: UInt64 = 0, step: Int) -> UnitRecord {
        UnitRecord(gap: gap, kind: 8, reference: [disk, zigzag(step)])
    }

    func with(_ runs: (skip: UInt64, bytes: [UInt8])...) -> UnitRecord { with(runs) }

    private func with(_ runs: [(skip: UInt64, bytes: [UInt8])]) -> UnitRecord {
        var record = self
        record.kind |= Self.runsFlag
        record.data += runs.flatMap(\.bytes)
        record.places = [UInt64(runs.count)] + runs.flatMap { [$0.skip, UInt64($0.bytes.count)] }
        return record
    }

    /// 0, -1, 1, -2, 2 … become 0, 1, 2, 3, 4 …
    static func zigzag(_ number: Int) -> UInt64 { number < 0 ? UInt64(-number) * 2 - 1 : UInt64(number) * 2 }
}

/// The raw bytes of a section of units, column by column, so that each can be made wrong.
struct UnitColumns {
    var count: UInt32
    var data: [UInt8]
    var kinds: [UInt8]
    var gaps: [UInt8]
    var references: [UInt8]
    var places: [UInt8]

    init(_ records: [UnitRecord]) {
        count = UInt32(records.count)
        data = records.flatMap(\.data)
        kinds = records.map(\.kind)
        gaps = records.flatMap { Self.varint($0.gap) }
        references = records.flatMap { $0.reference.flatMap(Self.varint) }
        places = records.flatMap { $0.places.flatMap(Self.varint) }
    }

    var bytes: [UInt8] {
        bytes(lengths: [count, UInt32(data.count), UInt32(gaps.count), UInt32(references.count)])
    }

    /// With four numbers at the head that may lie.
    func bytes(lengths: [UInt32]) -> [UInt8] {
        lengths.flatMap(little) + data + kinds + gaps + references + places
    }

    static func varint(_ value: UInt64) -> [UInt8] {
        value < 128 ? [UInt8(value)] : [UInt8(value & 127) | 128] + varint(value >> 7)
    }
}
