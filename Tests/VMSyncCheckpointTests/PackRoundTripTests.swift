import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// Writes a pack into memory.
func written(
    _ manifest: Manifest, _ body: (PackWriter) throws -> Void = { _ in }
) throws -> [UInt8] {
    var pack: [UInt8] = []
    let writer = try PackWriter { pack.append(contentsOf: $0) }
    try body(writer)
    let length = try writer.finish(manifest)
    #expect(length == pack.count)
    return pack
}

@Suite("Packs, written and read")
struct PackRoundTripTests {
    @Test("an empty checkpoint")
    func empty() throws {
        let manifest = Manifest.sample(kind: .off)
        let read = try UnpackedPack(try written(manifest))
        #expect(read.manifest == manifest)
        #expect(read.entries.isEmpty)
        #expect(read.deviceState == nil)
    }

    /// What the sender knows of the parent: which content stands where is what `find` looks up.
    private struct Known {
        let parent: [UnitID: [UInt8]]
        let base: [UnitID: [UInt8]]

        init(_ definition: MachineDefinition, _ random: inout SeededRandom) {
            let pages = (0..<definition.memoryUnits).map { UnitID.page($0) }
            let blocks = definition.disks.indices.flatMap { disk in
                (0..<definition.unitCount(of: .disk(disk))).map { UnitID.block($0, disk: disk) }
            }
            parent = Dictionary(uniqueKeysWithValues: (pages + blocks).map { ($0, random.bytes(Unit.size)) })
            base = Dictionary(uniqueKeysWithValues: blocks.map { ($0, random.bytes(Unit.size)) })
        }

        /// A content and where it stands; nil stands for nowhere.
        func any(_ named: [UnitID: [UInt8]], _ random: inout SeededRandom) -> (content: [UInt8], source: UnitSource?) {
            switch random.number(0..<4) {
            case 0:
                if let (unit, content) = parent.randomElement(using: &random) { return (content, .parent(unit)) }
            case 1:
                if let (unit, content) = base.randomElement(using: &random), case .disk(let disk) = unit.space {
                    return (content, .base(disk: disk, block: unit.index))
                }
            case 2:
                if let (unit, content) = named.randomElement(using: &random) { return (content, .new(unit)) }
            default: break
            }
            return (random.oneIn(3) ? [UInt8](repeating: 0, count: Unit.size) : random.bytes(Unit.size), nil)
        }
    }

    @Test("every kind of unit, several disks, a partial last block", arguments: 0..<6)
    func allKinds(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let definition = MachineDefinition.sample(disks: [4 << 20, 512, 1 << 20, 4608])
        let known = Known(definition, &random)
        let state = random.bytes(random.number(0..<100_000))
        var wanted: [UnitID: [UInt8]] = [:]
        var tally = PackTally()
        let pack = try written(.sample(definition, deviceState: state)) { writer in
            try writer.addDeviceState(state)
            for index in 0..<definition.memoryUnits where index == definition.memoryUnits - 1 || random.oneIn(8) {
                wanted[.page(index)] = try addPage(index, to: writer, known, wanted, &random)
            }
            for disk in definition.disks.indices {
                let units = definition.unitCount(of: .disk(disk))
                for index in 0..<units where index == units - 1 || random.oneIn(3) {
                    let (content, source) = known.any(wanted, &random)
                    try content.withUnsafeBytes { try writer.addBlock(disk: disk, index, $0) { source } }
                    wanted[.block(index, disk: disk)] = content
                }
            }
            tally = writer.tally
        }
        let read = try UnpackedPack(pack)
        #expect(read.isWithinBounds)
        #expect(read.entries.count == wanted.count)
        #expect(
            read.contents(parent: { known.parent[$0] ?? [] }, base: { known.base[$0] ?? [] }) == wanted, "seed \(seed)")
        #expect(read.deviceState == state)
        #expect(read[.block(1, disk: 3)] != nil)
        #expect(tally.zero > 0 && tally.whole > 0 && tally.own > 0 && tally.base > 0 && tally.parent > 0)
        #expect(tally.new > 0)
    }

    /// A page that changed a little, or a lot into what may stand elsewhere.
    private func addPage(
        _ index: Int, to writer: PackWriter, _ known: Known, _ wanted: [UnitID: [UInt8]], _ random: inout SeededRandom
    ) throws -> [UInt8] {
        let old = known.parent[.page(index)] ?? []
        var (new, source) = known.any(wanted, &random)
        if random.oneIn(3) {
            (new, source) = (old, nil)
            for _ in 0..<random.number(1..<30) { new[random.number(0..<Unit.size)] ^= 1 }
        }
        try old.withUnsafeBytes { old in
            let parent = random.oneIn(4) ? nil : old
            try new.withUnsafeBytes { try writer.addMemory(index, $0, parent: parent) { source } }
        }
        return new
    }

    @Test("more units than a section holds")
    func manySections() throws {
        var random = SeededRandom(seed: 12)
        let pages = (0..<1200).map { _ in random.bytes(Unit.size) }
        let pack = try written(.sample()) { writer in
            try writer.addDeviceState([])
            for (index, page) in pages.enumerated() {
                try page.withUnsafeBytes { try writer.addMemory(index * 3, $0, parent: nil) }
            }
        }
        let read = try UnpackedPack(pack)
        #expect(read.entries.map(\.unit) == pages.indices.map { .page($0 * 3) })
        #expect(
            read.contents(parent: { _ in [] }, base: { _ in [] })
                == Dictionary(
                    uniqueKeysWithValues: pages.enumerated().map { (.page($0 * 3), $1) }))
    }

    @Test("device state costs next to nothing when the parent's is known, and needs it to be read")
    func prefix() throws {
        var random = SeededRandom(seed: 3)
        let old = random.bytes(3 << 20)
        var new = old
        for _ in 0..<20 { new[random.number(0..<new.count)] ^= 0x80 }
        let pack = try written(.sample(deviceState: new)) { writer in
            try old.withUnsafeBytes { try writer.addDeviceState(new, parent: $0) }
        }
        print("device state of \(new.count) bytes with 20 changed: a pack of \(pack.count) bytes")
        #expect(pack.count < 4096)
        #expect(try UnpackedPack(pack, parentState: old).deviceState == new)
        #expect(refusal(pack)?.code == .corrupt)
        #expect(refusal(pack, parentState: random.bytes(3 << 20))?.code == .corrupt)
        #expect(refusal(pack, parentState: Array(old.dropLast()))?.code == .corrupt)
    }

    @Test("an empty device state and an empty parent state")
    func emptyStates() throws {
        let pack = try written(.sample(deviceState: [])) { try $0.addDeviceState([]) }
        #expect(try UnpackedPack(pack).deviceState == [])
    }

    @Test("what the sink throws ends the writing")
    func sinkFails() throws {
        var room = 100
        let writer = try PackWriter { bytes throws(VMSyncError) in
            room -= bytes.count
            if room < 0 { throw VMSyncError(.noSpace, "full") }
        }
        #expect(throws: VMSyncError.self) { try writer.finish(.sample()) }
    }
}

extension UnsafeRawBufferPointer {
    /// No bytes.
    static var none: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }
}
