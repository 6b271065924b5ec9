import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// Writes a pack into memory.
func written(
    _ manifest: Manifest, _ body: (PackWriter) throws -> Void = { _ in }
) throws -> [UInt8] {
    var pack: [UInt8] = []
    let writer = try PackWriter(compressor: ZstdCompressor()) { pack.append(contentsOf: $0) }
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

    @Test("every kind of unit, several disks, a partial last block", arguments: 0..<6)
    func allKinds(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let definition = MachineDefinition.sample(disks: [8 << 20, 512, 1 << 20, Unit.size == 4096 ? 4608 : 0])
        let state = random.bytes(random.number(0..<100_000))
        var expected: [UnpackedPack.Entry] = []
        let pack = try written(.sample(definition, deviceState: state)) { writer in
            expected += try addMemory(to: writer, units: definition.memoryUnits, &random)
            for disk in definition.disks.indices {
                let units = Unit.count(ofBytes: definition.disks[disk].size)
                expected += try addBlocks(to: writer, disk: disk, units: units, &random)
            }
            try state.withRawBytes { bytes throws(VMSyncError) in try writer.addDeviceState(bytes, parent: nil) }
        }
        let read = try UnpackedPack(pack)
        #expect(read.entries == expected)
        #expect(read.deviceState == state)
        #expect(expected.contains { $0.target == .disk(3) && $0.index == 1 })
        #expect(read.isWithinBounds)
    }

    private func addMemory(
        to writer: PackWriter, units: Int, _ random: inout SeededRandom
    ) throws -> [UnpackedPack.Entry] {
        var expected: [UnpackedPack.Entry] = []
        for index in 0..<units where index == units - 1 || random.oneIn(4) {
            let old = random.bytes(Unit.size)
            var new = random.oneIn(5) ? [UInt8](repeating: 0, count: Unit.size) : old
            let knowsParent = random.oneIn(2)
            if !new.allSatisfy({ $0 == 0 }) { new[random.number(0..<Unit.size)] ^= 1 }
            try old.withUnsafeBytes { old in
                try new.withUnsafeBytes { new in
                    try writer.addMemory(index, new, parent: knowsParent ? old : nil)
                    expected.append(
                        .init(target: .memory, index: index, change: change(from: knowsParent ? old : nil, to: new)))
                }
            }
        }
        return expected
    }

    /// What the format says that a unit becomes, in the words of the reader.
    private func change(from old: UnsafeRawBufferPointer?, to new: UnsafeRawBufferPointer) -> UnpackedPack.Change {
        if isZero(new) { return .zero }
        guard let old else { return .whole(Array(new)) }
        var delta = [UInt8](repeating: 0, count: Unit.size)
        let length = delta.withUnsafeMutableBytes { Delta.encode(from: old, to: new, into: $0) }
        return length.map { .delta(Array(delta.prefix($0))) } ?? .whole(Array(new))
    }

    private func addBlocks(
        to writer: PackWriter, disk: Int, units: Int, _ random: inout SeededRandom
    ) throws -> [UnpackedPack.Entry] {
        var expected: [UnpackedPack.Entry] = []
        for index in 0..<units where index == units - 1 || random.oneIn(3) {
            let block = random.oneIn(4) ? nil : random.bytes(Unit.size)
            if let block {
                try block.withUnsafeBytes { try writer.addBlock(disk: disk, index, $0) }
            } else {
                try writer.addBlock(disk: disk, index, nil)
            }
            expected.append(.init(target: .disk(disk), index: index, change: block.map { .whole($0) } ?? .zero))
        }
        return expected
    }

    @Test("device state costs next to nothing when the parent's is known, and needs it to be read")
    func prefix() throws {
        var random = SeededRandom(seed: 3)
        let old = random.bytes(3 << 20)
        var new = old
        for _ in 0..<20 { new[random.number(0..<new.count)] ^= 0x80 }
        let pack = try written(.sample(deviceState: new)) { writer in
            try new.withUnsafeBytes { new in try old.withUnsafeBytes { try writer.addDeviceState(new, parent: $0) } }
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
        let pack = try written(.sample(deviceState: [])) { writer in
            let none = UnsafeRawBufferPointer(start: nil, count: 0)
            try writer.addDeviceState(none, parent: none)
        }
        #expect(try UnpackedPack(pack).deviceState == [])
    }

    @Test("a pack made by hand after the document is read like one of the writer")
    func byHand() throws {
        let page = [UInt8](repeating: 9, count: Unit.size)
        let forge = try PackForge(
            .sample(deviceState: [1, 2, 3]),
            [
                .units([.init(gap: 3, type: 0), .init(gap: 0, type: 1, payload: page)]),
                .units([.init(gap: 9, type: 2, length: 4, payload: [5, 2, 8, 8])]),
                .units(kind: 2, [.init(gap: 255, type: 1, payload: page)]),
                .deviceState([1, 2, 3]),
            ])
        let read = try UnpackedPack(forge.bytes)
        #expect(
            read.entries == [
                .init(target: .memory, index: 3, change: .zero),
                .init(target: .memory, index: 4, change: .whole(page)),
                .init(target: .memory, index: 9, change: .delta([5, 2, 8, 8])),
                .init(target: .disk(0), index: 255, change: .whole(page)),
            ])
        #expect(read.deviceState == [1, 2, 3])
    }

    @Test("what the sink throws ends the writing")
    func sinkFails() throws {
        var room = 100
        let writer = try PackWriter(compressor: ZstdCompressor()) { bytes throws(VMSyncError) in
            room -= bytes.count
            if room < 0 { throw VMSyncError(.noSpace, "full") }
        }
        #expect(throws: VMSyncError.self) { try writer.finish(.sample()) }
    }
}
