import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

@Suite("Packs made by hand after the document")
struct PackByHandTests {
    private let definition = MachineDefinition.sample(disks: [1 << 20, 4608])
    private let page = (0..<Unit.size).map { UInt8(truncatingIfNeeded: $0 / 7) }
    private var pixels: [UInt8] { page.indices.map { $0 < 4 ? page[$0] : page[$0] &- page[$0 - 4] } }
    private var samples: [UInt8] { page.indices.map { $0 < 1 ? page[$0] : page[$0] &- page[$0 - 1] } }

    private func read(_ sections: [PackForge.Section]) throws -> UnpackedPack {
        let state: [UInt8] = [1, 2, 3]
        let forge = try PackForge(.sample(definition, deviceState: state), sections + [.deviceState(state)])
        let read = try UnpackedPack(forge.bytes)
        #expect(read.deviceState == state)
        #expect(read.isWithinBounds)
        return read
    }

    @Test("every source, in memory and on disks")
    func sources() throws {
        let read = try read([
            .units([
                .zero(gap: 3), .whole(page), .pixels(pixels), .own(gap: 3, (5, [8, 9])),
                .base(disk: 1, step: -9), .memory(step: 89), .disk(step: 188), .newMemory(step: -9), .samples(samples),
            ]),
            .units(
                kind: 2,
                [
                    .zero(), .whole(page), .pixels(pixels), .own((0, [7])), .base(disk: 1, step: -3),
                    .memory(step: 4090), .disk(step: 3), .newMemory(step: -4), .newDisk(step: -7),
                ]),
            .units(kind: 2, disk: 1, [.newDisk(gap: 1, step: 4)]),
        ])
        #expect(
            read.entries == [
                .init(.page(3), .zero), .init(.page(4), .whole(page)), .init(.page(5), .whole(page)),
                .init(.page(9), .own, [.init(5, [8, 9])]), .init(.page(10), .base(disk: 1, block: 1)),
                .init(.page(11), .parent(.page(100))), .init(.page(12), .parent(.block(200))),
                .init(.page(13), .new(.page(4))), .init(.page(14), .whole(page)),
                .init(.block(0), .zero), .init(.block(1), .whole(page)), .init(.block(2), .whole(page)),
                .init(.block(3), .own, [.init(0, [7])]), .init(.block(4), .base(disk: 1, block: 1)),
                .init(.block(5), .parent(.page(4095))), .init(.block(6), .parent(.block(9))),
                .init(.block(7), .new(.page(3))), .init(.block(8), .new(.block(1))),
                .init(.block(1, disk: 1), .new(.block(5))),
            ])
    }

    @Test("every source with runs over it")
    func runs() throws {
        let runs = [UnpackedPack.Run(2, [1, 2]), .init(4, [3]), .init(4095, [4])]
        let sources: [UnitRecord] = [
            .zero(), .whole(page), .pixels(pixels), .own(), .base(step: 0), .memory(step: 0), .disk(step: 0),
            .newMemory(step: -7), .samples(samples),
        ]
        let records = sources.map { $0.with((2, [1, 2]), (0, [3]), (4090, [4])) }
        #expect(
            try read([.units(records)]).entries == [
                .init(.page(0), .zero, runs), .init(.page(1), .whole(page), runs), .init(.page(2), .whole(page), runs),
                .init(.page(3), .own, runs), .init(.page(4), .base(disk: 0, block: 4), runs),
                .init(.page(5), .parent(.page(5)), runs), .init(.page(6), .parent(.block(6)), runs),
                .init(.page(7), .new(.page(0)), runs), .init(.page(8), .whole(page), runs),
            ])
    }

    @Test("a run may be the whole unit, or its last byte")
    func longRuns() throws {
        let read = try read([
            .units([.own((0, page)), .own((4095, [1])), .own((0, [1]), (0, Array(page.dropFirst())))])
        ])
        #expect(read[.page(0)]?.runs == [.init(0, page)])
        #expect(read[.page(1)]?.runs == [.init(4095, [1])])
        #expect(read[.page(2)]?.runs == [.init(0, [1]), .init(1, Array(page.dropFirst()))])
    }

    @Test("steps go on from the last reference of the same source, of whichever disk, within a section")
    func steps() throws {
        let read = try read([
            .units([
                .memory(step: 10), .memory(step: 0), .disk(step: 50), .memory(gap: 2, step: 0),
                .disk(disk: 1, step: -56),
                .disk(step: 7), .memory(step: -12),
            ]),
            .units([.memory(gap: 20, step: 10), .memory(step: 0)]),
        ])
        #expect(
            read.entries == [
                .init(.page(0), .parent(.page(10))), .init(.page(1), .parent(.page(11))),
                .init(.page(2), .parent(.block(52))), .init(.page(5), .parent(.page(15))),
                .init(.page(6), .parent(.block(0, disk: 1))), .init(.page(7), .parent(.block(8))),
                .init(.page(8), .parent(.page(6))),
                .init(.page(20), .parent(.page(30))), .init(.page(21), .parent(.page(31))),
            ])
    }

    @Test("the first and the last unit of memory and of a disk, as what is named and as what is referred to")
    func edges() throws {
        let read = try read([
            .units([.memory(step: 4095), .memory(gap: 4094, step: -8190)]),
            .units(kind: 2, [.base(step: 255), .base(gap: 254, step: -510)]),
            .units(kind: 2, disk: 1, [.disk(disk: 1, step: 1), .disk(disk: 1, step: -2)]),
        ])
        #expect(
            read.entries == [
                .init(.page(0), .parent(.page(4095))), .init(.page(4095), .parent(.page(0))),
                .init(.block(0), .base(disk: 0, block: 255)), .init(.block(255), .base(disk: 0, block: 0)),
                .init(.block(0, disk: 1), .parent(.block(1, disk: 1))),
                .init(.block(1, disk: 1), .parent(.block(0, disk: 1))),
            ])
    }

    @Test("what is a source and has a value of its own is saved first, and nothing else")
    func stash() throws {
        let read = try read([
            .units([
                .zero(), .own((0, [1])), .memory(step: -1), .memory(step: 98), .memory(step: -100), .memory(step: 0),
                .disk(step: 2), .disk(step: -4),
            ]),
            .units(kind: 2, [.disk(gap: 8, step: 0), .disk(step: 0)]),
        ])
        let sources = [1, 100, 1, 2].map { UnitID.page($0) } + [8, 5, 8, 9].map { UnitID.block($0) }
        #expect(read.entries.dropFirst(2).map(\.source) == sources.map { .parent($0) })
        #expect(read.stash == [.page(1), .page(2), .block(8), .block(9)])
    }

    @Test("flag 1 clears memory, so that every page that is a source is saved")
    func clearsMemory() throws {
        let sections: [PackForge.Section] = [
            .units([.zero(), .memory(step: 99), .disk(step: 5)]),
            .units(kind: 2, [.memory(step: 200), .own((0, [1])), .base(step: 0)]),
            .deviceState([]),
        ]
        var forge = try PackForge(.sample(definition), sections)
        #expect(try !UnpackedPack(forge.bytes).clearsMemory)
        #expect(try UnpackedPack(forge.bytes).stash == [])
        forge.flags = 1
        let read = try UnpackedPack(forge.bytes)
        #expect(read.clearsMemory)
        #expect(read.stash == [.page(100), .page(200)])
    }

    @Test("a checkpoint of a VM that is off clears memory without a flag")
    func off() throws {
        var forge = try PackForge(.sample(definition, kind: .off), [.units(kind: 2, [.memory(step: 5)])])
        for flags: UInt16 in [0, 1] {
            forge.flags = flags
            let read = try UnpackedPack(forge.bytes)
            #expect(read.clearsMemory)
            #expect(read.stash == [.page(5)])
            #expect(read.deviceState == nil)
        }
    }

    @Test("empty sections, several of the same kind and disk")
    func emptySections() throws {
        let read = try read([
            .units([]), .units([.zero(gap: 7)]), .units([]), .units([.zero(gap: 8)]), .units(kind: 2, []),
            .units(kind: 2, [.zero()]), .units(kind: 2, [.zero(gap: 1)]), .units(kind: 2, disk: 1, []),
        ])
        #expect(read.entries.map(\.unit) == [.page(7), .page(8), .block(0), .block(1)])
    }

    @Test("the writer writes the same columns")
    func writer() throws {
        // Bytes that are no picture, so that the page goes whole.
        var random = SeededRandom(seed: 3)
        let page = random.bytes(Unit.size)
        let records: [UnitRecord] = [
            .zero(gap: 300), .whole(page), .own(gap: 3, (200, [8, 9]), (130, [1])), .base(disk: 1, step: -305),
            .memory(step: 89), .memory(step: 0), .disk(step: -200), .newMemory(step: -9),
        ]
        let parent = random.bytes(Unit.size)
        var new = parent
        for (position, byte): (Int, UInt8) in [(200, 8), (201, 9), (332, 1)] { new[position] = byte }
        // The runs are these three bytes only if all of them change.
        #expect(parent[200] != 8 && parent[201] != 9 && parent[332] != 1)
        let pack = try written(.sample(definition)) { writer in
            try writer.addDeviceState([])
            try writer.addMemory(300, [UInt8](repeating: 0, count: Unit.size), .none)
            try writer.addMemory(301, page, .none)
            try parent.withUnsafeBytes { parent in
                try new.withUnsafeBytes { try writer.addMemory(305, $0, parent: parent) }
            }
            let sources: [UnitSource] = [
                .base(disk: 1, block: 1), .parent(.page(396)), .parent(.page(397)), .parent(.block(109)),
                .new(.page(301)),
            ]
            for (position, source) in sources.enumerated() { try writer.addMemory(306 + position, page, source) }
        }
        #expect(try firstSection(of: pack) == UnitColumns(records).bytes)
    }

    /// The raw bytes of the section that follows the prologue.
    private func firstSection(of pack: [UInt8]) throws -> [UInt8] {
        let header = pack.dropFirst(16).prefix(24)
        #expect(header.prefix(8) == [1, 1, 0, 0, 0, 0, 0, 0])
        let lengths = [24, 32].map { offset in
            (0..<8).reduce(0) { $0 | Int(pack[offset + $1]) << (8 * $1) }
        }
        var raw = [UInt8](repeating: 0, count: lengths[0])
        try pack[40..<40 + lengths[1]].withUnsafeBytes { frame in
            try raw.withUnsafeMutableBytes { try ZstdDecompressor().decompress(frame, into: $0) }
        }
        return raw
    }
}

extension PackWriter {
    /// A page of which the parent's isn't known.
    fileprivate func addMemory(_ index: Int, _ page: [UInt8], _ source: UnitSource?) throws {
        try page.withUnsafeBytes { try addMemory(index, $0, parent: nil) { source } }
    }
}
