import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

@Suite("The manifest of a pack")
struct PackManifestTests {
    private let state: [UInt8] = [1, 2, 3, 4, 5]

    private func json(_ manifest: Manifest) throws -> [UInt8] { Array(try JSONEncoder().encode(manifest)) }

    /// A pack without units whose manifest is `frame`, whatever that is.
    private func pack(_ frame: [UInt8]) throws -> [UInt8] {
        var forge = try PackForge(.sample(), [.deviceState([])])
        forge.manifestFrame = frame
        return forge.bytes
    }

    @Test("that contradicts itself or describes an impossible machine is refused")
    func contradictions() throws {
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
        #expect(refusal(try PackForge(.sample(deviceState: state), [.deviceState(state)]).bytes) == nil)
        for (index, change) in changes.enumerated() {
            var manifest = Manifest.sample(deviceState: state)
            change(&manifest)
            #expect(refusal(try PackForge(manifest, [.deviceState(state)]).bytes) != nil, "change \(index)")
        }
    }

    @Test("that is no JSON, or deep enough to exhaust a parser, is refused")
    func noJSON() throws {
        for text in ["", "{}", "null", "\u{FEFF}", "[1", String(repeating: "[", count: 200_000)] {
            #expect(refusal(try pack(ZstdFrame(Array(text.utf8)).bytes))?.code == .corrupt)
        }
    }

    @Test("is one frame that says its size, and nothing else")
    func oneFrame() throws {
        let json = try json(.sample())
        let frame = ZstdFrame(json)
        // Magic, length 4, four bytes that every reader of zstd passes over.
        let skippable: [UInt8] = [0x50, 0x2A, 0x4D, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]
        #expect(refusal(try pack(frame.bytes)) == nil)
        let wrong = [
            [], json, frame.bytesWithoutSize, frame.bytes + [0], frame.bytes + frame.bytes, skippable,
            skippable + frame.bytes, frame.bytes + skippable, Array(frame.bytes.dropLast()),
        ]
        for (index, bytes) in wrong.enumerated() { #expect(refusal(try pack(bytes))?.code == .corrupt, "\(index)") }
    }

    @Test("whose frame holds more or less than it says is refused, however much that is")
    func sizes() throws {
        let json = try json(.sample())
        for says in [0, 1, json.count - 1, json.count + 1, Limits.manifestMax, Limits.manifestMax + 1, Int.max] {
            var frame = ZstdFrame(json)
            frame.contentSize = says
            #expect(refusal(try pack(frame.bytes))?.code == .corrupt, "\(says)")
        }
        for says in [0, 100, Limits.manifestMax] {
            var bomb = ZstdFrame(repeating: 0x20, count: 256 << 20)
            bomb.contentSize = says
            #expect(refusal(try pack(bomb.bytes))?.code == .corrupt, "\(says)")
        }
    }

    @Test("may be as long as the limit, unpacked and packed, and not longer")
    func limits() throws {
        let json = try json(.sample())
        for (length, isTaken) in [(Limits.manifestMax, true), (Limits.manifestMax + 1, false)] {
            let padded = json + [UInt8](repeating: 0x20, count: length - json.count)
            var frame: [UInt8] = []
            _ = try padded.withUnsafeBytes { try ZstdCompressor().append($0, to: &frame) }
            #expect((refusal(try pack(frame)) == nil) == isTaken)
            // A header of 13 bytes, and three before each of eight blocks.
            let plain = ZstdFrame(Array(padded.dropLast(13 + 3 * 8))).bytes
            #expect(plain.count == length)
            #expect((refusal(try pack(plain)) == nil) == isTaken)
        }
    }
}
