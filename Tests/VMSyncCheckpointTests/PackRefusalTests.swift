import Foundation
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
            try page.withUnsafeBytes { page in
                try writer.addMemory(5, page, parent: nil)
                try writer.addBlock(disk: 0, 1, page)
            }
            try state.withUnsafeBytes { try writer.addDeviceState($0, parent: nil) }
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
        for version: UInt16 in [0, 2, .max] {
            var forge = try forged([])
            forge.version = version
            let error = try #require(refusal(forge.bytes))
            #expect(error.code == .incompatible)
            #expect(error.message.contains("format \(version)"))
            #expect(error.hint != nil)
        }
        for bit in 0..<16 {
            var forge = try forged([])
            forge.flags = 1 << UInt16(bit)
            #expect(refusal(forge.bytes)?.code == .incompatible)
            forge = try forged([])
            forge.reserved = 1 << UInt32(bit)
            #expect(refusal(forge.bytes)?.code == .incompatible)
        }
    }

    @Test("an unknown kind, compression or reserved field of a section")
    func unknownSections() throws {
        let raw = PackForge.unitBytes([])
        let good = PackForge.Section(kind: 1, rawLength: 8, stored: raw)
        #expect(refusal(try forged([good]).bytes) == nil)
        for unknown: UInt8 in [0, 4, 255] {
            var section = good
            section.kind = unknown
            #expect(refusal(try forged([section]).bytes)?.code == .incompatible)
            section = good
            section.compression = unknown == 0 ? 3 : unknown
            #expect(refusal(try forged([section]).bytes)?.code == .incompatible)
            section = good
            section.reserved = UInt32(unknown) + 1
            #expect(refusal(try forged([section]).bytes)?.code == .incompatible)
        }
    }

    @Test("a section whose header contradicts the manifest or the limits")
    func impossibleHeaders() throws {
        let raw = PackForge.unitBytes([])
        let huge = UInt64.max
        let impossible: [PackForge.Section] = [
            .init(kind: 1, disk: 1, rawLength: 8, stored: raw),
            .init(kind: 2, disk: 1, rawLength: 8, stored: raw),
            .init(kind: 2, disk: .max, rawLength: 8, stored: raw),
            .init(kind: 1, rawLength: 9, stored: raw),
            .init(kind: 1, rawLength: huge, stored: raw),
            .init(kind: 1, compression: 1, rawLength: huge, stored: raw),
            .init(kind: 1, compression: 1, rawLength: UInt64(Limits.sectionMax) + 1, stored: raw),
            .init(kind: 1, compression: 2, rawLength: 8, stored: raw),
            .deviceState([1]),
        ]
        for section in impossible { #expect(refusal(try forged([section]).bytes)?.code == .corrupt) }
    }

    @Test("a stored length that reaches into what follows, or out of the pack")
    func storedLengths() throws {
        let pack = try forged([.units([])]).bytes
        for length: UInt64 in [9, 33, 4096, UInt64(pack.count), 1 << 40, .max] {
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

    @Test("a frame that expands to more or less than was promised", arguments: [-1, 1, 4096, 2 << 20])
    func expansion(more: Int) throws {
        let raw = PackForge.unitBytes((0..<4000).map { _ in .init(gap: 0, type: 0) })
        var frame: [UInt8] = []
        let zeros = raw + [UInt8](repeating: 0, count: max(0, more))
        _ = try zeros.withUnsafeBytes { try ZstdCompressor().append($0, to: &frame) }
        let right = PackForge.Section(kind: 1, compression: 1, rawLength: UInt64(zeros.count), stored: frame)
        #expect((refusal(try forged([right]).bytes) == nil) == (more <= 0))
        let wrong = PackForge.Section(kind: 1, compression: 1, rawLength: UInt64(zeros.count - more), stored: frame)
        #expect(refusal(try forged([wrong]).bytes)?.code == .corrupt)
    }

    @Test("records that leave their table, their payload, the memory or their order")
    func records() throws {
        typealias Record = PackForge.Record
        let units = UInt64(Manifest.sample().definition.memoryUnits)
        let wrong: [[Record]] = [
            [Record(gap: units, type: 0)],
            [Record(gap: .max, type: 0)],
            [Record(gap: units - 1, type: 0), Record(gap: 0, type: 0)],
            [Record(gap: 0, type: 0), Record(gap: units - 1, type: 0)],
            [Record(gap: 0, type: 0), Record(gap: .max, type: 0)],
            [Record(gap: 0, type: 3)],
            [Record(gap: 0, type: 255)],
            [Record(gap: 0, type: 1, payload: Array(page.dropLast()))],
            [Record(gap: 0, type: 1, payload: page + [0])],
            [Record(gap: 0, type: 2, length: 3, payload: [0, 1])],
            [Record(gap: 0, type: 2, length: .max, payload: [0, 1])],
            [Record(gap: 0, type: 2, length: 4097, payload: [UInt8](repeating: 0, count: 4097))],
            [Record(gap: 0, type: 2, length: 2, payload: [0, 1])],
            [Record(gap: 0, type: 2)],
        ]
        for records in wrong { #expect(refusal(try forged([.units(records)]).bytes)?.code == .corrupt, "\(records)") }
        let last = [Record(gap: units - 1, type: 0)]
        #expect(refusal(try forged([.units(last)]).bytes) == nil)
        #expect(refusal(try forged([.units(last), .units([Record(gap: 0, type: 0)])]).bytes)?.code == .corrupt)
        #expect(refusal(try forged([.units(last), .units(last)]).bytes)?.code == .corrupt)
        let delta = [Record(gap: 0, type: 2, length: 3, payload: [0, 1, 1])]
        #expect(refusal(try forged([.units(kind: 2, delta)]).bytes)?.code == .corrupt)
        #expect(refusal(try forged([.units(delta)]).bytes) == nil)
    }

    @Test("a table or a count that lies")
    func tables() throws {
        let good = PackForge.unitBytes([.init(gap: 0, type: 0)])
        for (count, table): (UInt32, UInt32) in [(2, 2), (0, 2), (.max, 2), (1, 1), (1, 3), (1, .max), (1, 0)] {
            let raw = little(count) + little(table) + good.dropFirst(8)
            let section = PackForge.Section(kind: 1, rawLength: UInt64(raw.count), stored: raw)
            #expect(refusal(try forged([section]).bytes)?.code == .corrupt)
        }
        for length in 0..<8 {
            let raw = Array(good.prefix(length))
            let section = PackForge.Section(kind: 1, rawLength: UInt64(length), stored: raw)
            #expect(refusal(try forged([section]).bytes)?.code == .corrupt)
        }
    }

    @Test("device state that isn't what the manifest says")
    func deviceStates() throws {
        let manifest = Manifest.sample(deviceState: state)
        #expect(refusal(try PackForge(manifest, []).bytes)?.code == .corrupt)
        #expect(refusal(try PackForge(manifest, [.deviceState([1, 2, 3, 4, 6])]).bytes)?.code == .corrupt)
        #expect(refusal(try PackForge(manifest, [.deviceState([1, 2, 3, 4])]).bytes)?.code == .corrupt)
        #expect(refusal(try PackForge(.sample(kind: .off), [.deviceState([])]).bytes)?.code == .corrupt)
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

    @Test("a manifest that contradicts itself or describes an impossible machine")
    func manifests() throws {
        let changes: [(inout Manifest) -> Void] = [
            { $0.sequence = .base },
            { $0.parent = $0.sequence },
            { $0.parent = $0.sequence.next },
            { $0.digest.disks = [] },
            { $0.digest.disks.append(.zero) },
            { $0.deviceStateBytes = -1 },
            { $0.definition.memory = 0 },
            { $0.definition.memory = .max },
            { $0.definition.memory += 4096 },
            { $0.definition.disks = [] },
            { $0.definition.disks[0].size = 0 },
            { $0.definition.disks[0].size = .max },
            { $0.definition.disks[0].size = 513 },
            { $0.definition.cores = 0 },
            { $0.definition.cores = -1 },
            { $0.definition.machineType = "q35,accel=kvm" },
            { $0.definition.cpuModel = "" },
            { $0.definition.macAddress = "52:54:00:12:34:56,x=y" },
            { $0.definition.generationID = String(repeating: "a", count: 65) },
            { $0.definition.boot = .init(hasInitrd: false, commandLine: String(repeating: "a", count: 2049)) },
            { $0.definition.boot = .init(hasInitrd: false, commandLine: "a\0b") },
        ]
        for (index, change) in changes.enumerated() {
            var manifest = Manifest.sample(deviceState: state)
            change(&manifest)
            #expect(refusal(try PackForge(manifest, [.deviceState(state)]).bytes) != nil, "change \(index)")
        }
    }

    @Test("a manifest that is no JSON, or deep enough to exhaust a parser")
    func noJSON() throws {
        for text in ["", "{}", "null", "\u{FEFF}", "[1", String(repeating: "[", count: 200_000)] {
            var forge = try forged([])
            forge.manifest = Data(text.utf8)
            #expect(refusal(forge.bytes)?.code == .corrupt)
        }
    }
}
