import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

@Suite("Sections of units that are refused")
struct PackUnitRefusalTests {
    private let definition = MachineDefinition.sample(disks: [1 << 20, 4608])
    private let page = [UInt8](repeating: 9, count: Unit.size)
    private static let units: UInt64 = 4096

    private func pack(_ sections: [PackForge.Section], flags: UInt16 = 0) throws -> [UInt8] {
        var forge = try PackForge(.sample(definition), sections + [.deviceState([])])
        forge.flags = flags
        return forge.bytes
    }

    private func section(_ raw: [UInt8]) -> PackForge.Section {
        PackForge.Section(kind: 1, rawLength: UInt64(raw.count), stored: raw)
    }

    /// Expects that `records` are taken in memory, or refused.
    private func expect(
        _ records: [UnitRecord], taken: Bool, _ location: SourceLocation = #_sourceLocation
    ) throws {
        let refusal = refusal(try pack([.units(records)]))
        #expect(refusal?.code == (taken ? nil : .corrupt), "\(refusal?.message ?? "")", sourceLocation: location)
    }

    @Test("an index outside the memory")
    func indices() throws {
        #expect(definition.memoryUnits == Int(Self.units))
        try expect([.zero(gap: Self.units - 1)], taken: true)
        try expect([.zero(gap: Self.units)], taken: false)
        try expect([.zero(gap: .max)], taken: false)
        try expect([.zero(), .zero(gap: Self.units - 2)], taken: true)
        try expect([.zero(), .zero(gap: Self.units - 1)], taken: false)
        try expect([.zero(), .zero(gap: .max)], taken: false)
        try expect([.zero(), .zero(gap: UInt64(Int.max))], taken: false)
        try expect([.zero(gap: Self.units - 1), .zero()], taken: false)
    }

    @Test("an index outside its disk")
    func blocks() throws {
        for (disk, units): (UInt16, UInt64) in [(0, 256), (1, 2)] {
            #expect(refusal(try pack([.units(kind: 2, disk: disk, [.zero(gap: units - 1)])])) == nil)
            #expect(refusal(try pack([.units(kind: 2, disk: disk, [.zero(gap: units)])]))?.code == .corrupt)
        }
    }

    @Test("indices that don't rise from section to section")
    func order() throws {
        let last: PackForge.Section = .units([.zero(gap: 9)])
        #expect(refusal(try pack([last, .units([.zero(gap: 10)])])) == nil)
        for gap: UInt64 in [0, 8, 9] {
            #expect(refusal(try pack([last, .units([.zero(gap: gap)])]))?.code == .corrupt)
            #expect(refusal(try pack([last, .units([]), .units([.zero(gap: gap)])]))?.code == .corrupt)
        }
        let block: PackForge.Section = .units(kind: 2, [.zero(gap: 1)])
        #expect(refusal(try pack([last, block, .units(kind: 2, disk: 1, [.zero(gap: 1)])])) == nil)
        #expect(refusal(try pack([last, block, block]))?.code == .corrupt)
    }

    @Test("a source or a bit that isn't known")
    func kinds() throws {
        for kind in UInt8.min...UInt8.max {
            let isKnown = kind & 0xE0 == 0 && kind & 0x0F <= 9
            let record = UnitRecord(gap: 0, kind: kind, data: page, reference: [0, 0], places: [1, 0, 1])
            let error = refusal(try pack([.units([record])]))
            // What is known is refused for something else: it has too many columns.
            #expect(error?.code == .corrupt)
            #expect(error?.message.contains("doesn't know") == !isKnown, "kind \(kind)")
        }
    }

    @Test("content that is too short or too long")
    func contents() throws {
        try expect([.whole(page)], taken: true)
        try expect([.pixels(page)], taken: true)
        try expect([.samples(page)], taken: true)
        for record: ([UInt8]) -> UnitRecord in [{ .whole($0) }, { .pixels($0) }, { .samples($0) }] {
            try expect([record(Array(page.dropLast()))], taken: false)
            try expect([record(page + [0])], taken: false)
            try expect([record([])], taken: false)
        }
    }

    @Test("runs that are none, are empty or leave their unit")
    func runs() throws {
        func own(_ places: [UInt64], data: Int) -> [UnitRecord] {
            [UnitRecord(gap: 0, kind: 0x13, data: [UInt8](repeating: 7, count: data), places: places)]
        }
        try expect(own([1, 0, 1], data: 1), taken: true)
        try expect(own([1, 4095, 1], data: 1), taken: true)
        try expect(own([1, 0, 4096], data: 4096), taken: true)
        try expect(own([2, 0, 1, 4094, 1], data: 2), taken: true)
        try expect([UnitRecord(gap: 0, kind: 3)], taken: false)
        try expect(own([], data: 0), taken: false)
        try expect(own([0], data: 0), taken: false)
        try expect(own([1], data: 0), taken: false)
        try expect(own([1, 0], data: 0), taken: false)
        try expect(own([1, 0, 0], data: 0), taken: false)
        try expect(own([2, 0, 1], data: 1), taken: false)
        try expect(own([.max, 0, 1], data: 1), taken: false)
        try expect(own([1, 4096, 0], data: 0), taken: false)
        try expect(own([1, 4096, 1], data: 1), taken: false)
        try expect(own([1, 4095, 2], data: 2), taken: false)
        try expect(own([1, 0, 4097], data: 4097), taken: false)
        try expect(own([1, 1, .max], data: 1), taken: false)
        try expect(own([1, .max, 1], data: 1), taken: false)
        try expect(own([1, .max, .max], data: 1), taken: false)
        try expect(own([2, 0, 1, 4095, 1], data: 2), taken: false)
        try expect(own([2, 0, 4096, 0, 1], data: 4097), taken: false)
        try expect(own([1, 0, 2], data: 1), taken: false)
        try expect(own([1, 0, 1], data: 2), taken: false)
        try expect(own([1, 0, 1, 0], data: 1), taken: false)
    }

    @Test("a reference outside the memory, the disk or the disks")
    func references() throws {
        let last = Int(Self.units) - 1
        for record: (Int) -> UnitRecord in [{ .memory(step: $0) }, { .disk(step: $0) }, { .base(step: $0) }] {
            try expect([record(0)], taken: true)
            for step in [-1, 4096, 1 << 33, -1 << 33, Int.max, Int.min + 1] {
                try expect([record(step)], taken: false)
            }
        }
        try expect([.memory(gap: UInt64(last), step: 1)], taken: false)
        try expect([.disk(step: 255)], taken: true)
        try expect([.disk(step: 256)], taken: false)
        try expect([.base(disk: 1, step: 1)], taken: true)
        try expect([.base(disk: 1, step: 2)], taken: false)
        for disk: UInt64 in [2, 16, 1 << 32, .max] {
            try expect([.base(disk: disk, step: 0)], taken: false)
            try expect([.disk(disk: disk, step: 0)], taken: false)
            try expect([.zero(), .newDisk(disk: disk, step: -1)], taken: false)
        }
    }

    @Test("steps that overflow when they are added up")
    func steps() throws {
        for step in [Int.max, Int.min + 1] {
            try expect([.memory(step: 5), .memory(step: step)], taken: false)
            try expect([.memory(step: step), .memory(step: step)], taken: false)
        }
        try expect([.memory(step: 5), UnitRecord(gap: 0, kind: 5, reference: [.max])], taken: false)
    }

    @Test("a reference that is missing, or one too many")
    func missingReferences() throws {
        for kind: UInt8 in 4...8 {
            try expect([.zero(), UnitRecord(gap: 0, kind: kind)], taken: false)
        }
        try expect([UnitRecord(gap: 0, kind: 4, reference: [0])], taken: false)
        try expect([UnitRecord(gap: 0, kind: 5, reference: [0, 0])], taken: false)
        try expect([UnitRecord(gap: 0, kind: 0, reference: [0])], taken: false)
    }

    @Test("a reference to a new unit that no earlier record names")
    func newUnits() throws {
        try expect([.zero(gap: 5), .newMemory(step: -1)], taken: true)
        try expect([.newMemory(gap: 5, step: 0)], taken: false)
        try expect([.newMemory(gap: 5, step: 1), .zero()], taken: false)
        try expect([.zero(gap: 5), .newMemory(step: -2)], taken: false)
        try expect([.zero(gap: 5), .newMemory(gap: 1, step: -1)], taken: false)
        try expect([.zero(gap: 5), .newDisk(step: -1)], taken: false)
        let memory = PackForge.Section.units([.zero(gap: 5)])
        func blocks(_ disk: UInt16, _ records: UnitRecord...) -> PackForge.Section {
            .units(kind: 2, disk: disk, records)
        }
        #expect(refusal(try pack([memory, blocks(0, .newMemory(step: 5))])) == nil)
        #expect(refusal(try pack([memory, blocks(0, .zero()), blocks(1, .newDisk(step: 0))])) == nil)
        let wrong = [
            [memory, blocks(0, .newMemory(step: 4))],
            [memory, blocks(0, .newDisk(step: 5))],
            [memory, blocks(0, .newDisk(step: 0))],
            [memory, blocks(0, .newDisk(disk: 1, step: 0)), blocks(1, .zero())],
            [memory, blocks(1, .newDisk(step: 0))],
            [PackForge.Section.units([.newDisk(step: 0)]), blocks(0, .zero())],
        ]
        for sections in wrong { #expect(refusal(try pack(sections))?.code == .corrupt) }
    }

    @Test("a page's own content where memory is cleared")
    func clearedMemory() throws {
        let own = UnitRecord.own((0, [1]))
        #expect(refusal(try pack([.units([own])])) == nil)
        #expect(refusal(try pack([.units([own])], flags: 1))?.code == .corrupt)
        #expect(refusal(try pack([.units(kind: 2, [own])], flags: 1)) == nil)
    }

    @Test("more units to save than the limit")
    func stash() throws {
        let units = Limits.stashMax + 1
        let manifest = Manifest.sample(.sample(disks: [UInt64(units * Unit.size)]))
        for (count, isTaken) in [(units - 1, true), (units, false)] {
            let records = (0..<count).map { _ in UnitRecord.disk(step: 0) }
            let error = refusal(try PackForge(manifest, [.units(kind: 2, records), .deviceState([])]).bytes)
            #expect(error?.code == (isTaken ? nil : .corrupt))
        }
    }

    @Test("columns that lie about their lengths")
    func columns() throws {
        let columns = UnitColumns([.zero(), .whole(page), .own((3, [1])), .base(step: 0), .zero(gap: 300)])
        let truth = [
            columns.count, UInt32(columns.data.count), UInt32(columns.gaps.count), UInt32(columns.references.count),
        ]
        #expect(refusal(try pack([section(columns.bytes(lengths: truth))])) == nil)
        for column in truth.indices {
            let lies: [UInt32] = [0, truth[column] - 1, truth[column] + 1, UInt32(columns.bytes.count), 1 << 31, .max]
            for lie in lies {
                var lengths = truth
                lengths[column] = lie
                #expect(refusal(try pack([section(columns.bytes(lengths: lengths))]))?.code == .corrupt)
            }
        }
        let everything = [UInt32](repeating: .max, count: 4)
        #expect(refusal(try pack([section(columns.bytes(lengths: everything))]))?.code == .corrupt)
    }

    @Test("a section that is cut off anywhere, or has a byte more")
    func lengths() throws {
        let raw = UnitColumns([.zero(), .own((3, [1, 2])), .base(step: 0), .memory(gap: 300, step: -300)]).bytes
        #expect(refusal(try pack([section(raw)])) == nil)
        for length in 0..<raw.count {
            #expect(refusal(try pack([section(Array(raw.prefix(length)))]))?.code == .corrupt)
        }
        for byte: UInt8 in [0, 1, 0x80] { #expect(refusal(try pack([section(raw + [byte])]))?.code == .corrupt) }
    }

    @Test("a varint of more than 64 bits, or without an end")
    func varints() throws {
        let nine = [UInt8](repeating: 0xFF, count: 9)
        let (small, large): ([UInt8], [UInt8]) = ([0x85, 0x80, 0], [0xC0, 0x20])
        for (gap, isTaken): ([UInt8], Bool) in [
            (small, true), ([UInt8](repeating: 0x80, count: 9) + [0], true), (large, false), (nine + [1], false),
            (nine + [2], false), (nine + [0x80, 0], false), (nine + [0xFF, 1], false), ([0x80], false), ([], false),
        ] {
            var columns = UnitColumns([.zero()])
            columns.gaps = gap
            #expect((refusal(try pack([section(columns.bytes)])) == nil) == isTaken, "\(gap)")
        }
    }

    @Test("a frame that holds more or less than its section promises")
    func frames() throws {
        let raw = UnitColumns((0..<4000).map { _ in .zero() }).bytes
        let frames = [ZstdFrame(raw).bytes, ZstdFrame(raw).bytesWithoutSize]
        for frame in frames {
            for more in [0, -raw.count, -4096, -1, 1, 4096, 2 << 20] {
                let promised = UInt64(raw.count + more)
                let section = PackForge.Section(kind: 1, compression: 1, rawLength: promised, stored: frame)
                #expect((refusal(try pack([section])) == nil) == (more == 0), "\(more)")
            }
        }
    }

    @Test("a frame that would fill the memory")
    func bombs() throws {
        let bomb = ZstdFrame(repeating: 0, count: 512 << 20)
        var liar = bomb
        liar.contentSize = 16
        for stored in [bomb.bytes, bomb.bytesWithoutSize, liar.bytes] {
            for promised in [16, Limits.sectionMax] {
                let section = PackForge.Section(kind: 1, compression: 1, rawLength: UInt64(promised), stored: stored)
                #expect(refusal(try pack([section]))?.code == .corrupt)
            }
        }
    }

    @Test("a section that isn't one zstd frame")
    func oneFrame() throws {
        let raw = UnitColumns([.zero()]).bytes
        let frame = ZstdFrame(raw).bytes
        let skippable: [UInt8] = [0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]
        func taken(_ stored: [UInt8]) throws -> Bool {
            let section = PackForge.Section(kind: 1, compression: 1, rawLength: UInt64(raw.count), stored: stored)
            return refusal(try pack([section])) == nil
        }
        #expect(try taken(frame))
        for stored in [[], raw, frame + [0], frame + skippable, skippable + frame, frame + ZstdFrame([]).bytes] {
            #expect(try !taken(stored))
        }
    }
}
