import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

@Suite("Packs that are refused")
struct PackRefusalTests {
    private let state: [UInt8] = [1, 2, 3, 4, 5]
    private let page = [UInt8](repeating: 9, count: Unit.size)

    private func small() throws -> [UInt8] {
        try written(.sample(deviceState: state)) { writer in
            try writer.addDeviceState(state)
            try page.withUnsafeBytes { page in
                try writer.addMemory(5, page, parent: nil)
                try writer.addBlock(disk: 0, 1, page)
            }
        }
    }

    private func forged(_ sections: [PackForge.Section]) throws -> PackForge {
        try PackForge(.sample(deviceState: state), sections + [.deviceState(state)])
    }

    @Test("one flipped bit, wherever it is")
    func flippedBits() throws {
        let pack = try small()
        #expect(refusal(pack) == nil)
        for bit in 0..<pack.count * 8 {
            var damaged = pack
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            let code = refusal(damaged)?.code
            #expect(code == .corrupt || code == .incompatible, "bit \(bit)")
        }
    }

    @Test("cut off at any length, or with more behind")
    func lengths() throws {
        let pack = try small()
        for length in 0..<pack.count { #expect(refusal(Array(pack.prefix(length)))?.code == .corrupt, "\(length)") }
        for more in [1, 16, 32, 4096] {
            #expect(refusal(pack + [UInt8](repeating: 0, count: more))?.code == .corrupt)
        }
        #expect(refusal(pack + pack)?.code == .corrupt)
    }

    @Test("another version, flag or reserved field, with a word on what to do")
    func unknownFeatures() throws {
        for version: UInt16 in [0, 1, 3, .max] {
            var forge = try forged([])
            forge.version = version
            let error = try #require(refusal(forge.bytes))
            #expect(error.code == .incompatible)
            #expect(error.message.contains("format \(version)"))
            #expect(error.hint != nil)
        }
        for bit in 1..<16 {
            var forge = try forged([])
            forge.flags = 1 << UInt16(bit)
            #expect(refusal(forge.bytes)?.code == .incompatible)
        }
        for bit in 0..<32 {
            var forge = try forged([])
            forge.reserved = 1 << UInt32(bit)
            #expect(refusal(forge.bytes)?.code == .incompatible)
        }
    }

    @Test("an unknown kind, compression or reserved field of a section")
    func unknownSections() throws {
        let good = PackForge.Section.units([])
        #expect(refusal(try forged([good]).bytes) == nil)
        for unknown: UInt8 in [0, 4, 255] {
            var section = good
            section.kind = unknown
            #expect(refusal(try forged([section]).bytes)?.code == .incompatible)
            section = good
            section.compression = unknown == 0 ? 5 : unknown
            #expect(refusal(try forged([section]).bytes)?.code == .incompatible)
            section = good
            section.reserved = UInt32(unknown) + 1
            #expect(refusal(try forged([section]).bytes)?.code == .incompatible)
        }
    }

    @Test("a section whose header contradicts the manifest or the limits")
    func impossibleHeaders() throws {
        let raw = UnitColumns([]).bytes
        let length = UInt64(raw.count)
        let huge = UInt64.max
        let impossible: [PackForge.Section] = [
            .init(kind: 1, disk: 1, rawLength: length, stored: raw),
            .init(kind: 2, disk: 1, rawLength: length, stored: raw),
            .init(kind: 2, disk: .max, rawLength: length, stored: raw),
            .init(kind: 1, rawLength: length + 1, stored: raw),
            .init(kind: 1, rawLength: huge, stored: raw),
            .init(kind: 1, compression: 1, rawLength: huge, stored: raw),
            .init(kind: 1, compression: 1, rawLength: UInt64(Limits.sectionMax) + 1, stored: raw),
            .init(kind: 1, compression: 2, rawLength: length, stored: raw),
            .deviceState([1]),
        ]
        for section in impossible { #expect(refusal(try forged([section]).bytes)?.code == .corrupt) }
    }

    @Test("a stored length that reaches into what follows, or out of the pack")
    func storedLengths() throws {
        let pack = try forged([.units([])]).bytes
        for length: UInt64 in [0, 15, 17, 33, 4096, UInt64(pack.count), 1 << 40, .max] {
            var damaged = pack
            damaged.replaceSubrange(32..<40, with: little(length))
            #expect(refusal(PackForge.signed(damaged)) != nil)
        }
    }

    @Test("a wrong number of sections, an impossible length of the manifest")
    func trailers() throws {
        for count: UInt32 in [0, 2, .max] {
            var forge = try forged([])
            forge.sectionCount = count
            #expect(refusal(forge.bytes)?.code == .corrupt)
        }
        let pack = try forged([]).bytes
        for length: UInt32 in [0, 1, UInt32(Limits.manifestMax) + 1, UInt32(pack.count), .max] {
            var damaged = pack
            damaged.replaceSubrange(pack.count - 32..<pack.count - 28, with: little(length))
            #expect(refusal(PackForge.signed(damaged)) != nil)
        }
    }

    @Test("sections that are out of order")
    func order() throws {
        let manifest = Manifest.sample(.sample(disks: [1 << 20, 1 << 20]), deviceState: state)
        let (memory, state) = (PackForge.Section.units([]), PackForge.Section.deviceState(state))
        let disks = (0..<2).map { PackForge.Section.units(kind: 2, disk: $0, []) }
        #expect(refusal(try PackForge(manifest, [memory, memory] + disks + [state]).bytes) == nil)
        let wrong = [
            [disks[0], memory, state], [disks[1], disks[0], state], [state, memory], [state, disks[0]], [state, state],
        ]
        for sections in wrong { #expect(refusal(try PackForge(manifest, sections).bytes)?.code == .corrupt) }
    }

    @Test("device state that isn't what the manifest says")
    func deviceStates() throws {
        let manifest = Manifest.sample(deviceState: state)
        #expect(refusal(try PackForge(manifest, []).bytes)?.code == .corrupt)
        #expect(refusal(try PackForge(manifest, [.deviceState([1, 2, 3, 4, 6])]).bytes)?.code == .corrupt)
        #expect(refusal(try PackForge(manifest, [.deviceState([1, 2, 3, 4])]).bytes)?.code == .corrupt)
        #expect(refusal(try PackForge(.sample(kind: .off), [.deviceState([])]).bytes)?.code == .corrupt)
        // Magic, length 4, four bytes: every reader of zstd passes over it, as if it were a frame of nothing.
        let skippable: [UInt8] = [0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]
        for (stored, isTaken) in [(ZstdFrame([]).bytes, true), (skippable, false)] {
            let section = PackForge.Section(kind: 3, compression: 1, rawLength: 0, stored: stored)
            #expect((refusal(try PackForge(.sample(), [section]).bytes) == nil) == isTaken)
        }
        var many = manifest
        many.deviceStateBytes = Limits.deviceStateMax + 1
        let claim = PackForge.Section(
            kind: 3, compression: 1, rawLength: UInt64(Limits.deviceStateMax) + 1, stored: [0])
        #expect(refusal(try PackForge(many, [claim]).bytes)?.code == .corrupt)
    }

    @Test("memory in a VM that is off")
    func memoryWhileOff() throws {
        #expect(refusal(try PackForge(.sample(kind: .off), [.units([])]).bytes)?.code == .corrupt)
        var manifest = Manifest.sample(kind: .off)
        manifest.digest.memory = Hash128(value: 1)
        #expect(refusal(try PackForge(manifest).bytes)?.code == .corrupt)
        manifest = .sample(kind: .off)
        manifest.digest.deviceState = Hash128(value: 1)
        #expect(refusal(try PackForge(manifest).bytes)?.code == .corrupt)
    }
}
