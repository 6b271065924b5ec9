import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// Makes a pack of a fuzzer's input. What a checksum or a length would refuse at once is made right, so that the input
/// reaches what lies behind: the first byte says how much of the pack the input itself is.
///
/// | bits of the first byte | |
/// |---|---|
/// | 0–1 | 0: sections as they stand in a pack; 1: by their raw bytes; 2: by their records; 3: the whole pack |
/// | 2 | the flag that clears memory |
/// | 3 | the VM is off |
/// | 4 | a keyframe |
/// | 5 | the input has the device state too |
/// | 6 | the pack is written again |
/// | 7 | the pack is merged with its neighbours |
struct PackRecipe {
    /// Of the checkpoint before the fuzzed one, of that one itself, and of the one before both. The first two are equally
    /// long, so that the one may be runs over the other.
    static let parentState = Array("the device state of its parent here, with a page like another".utf8)
    static let state = Array("the device state of the fuzzed pack, with a page like another".utf8)
    static let firstState: [UInt8] = [1, 2, 3]

    /// Memory as small as it may be, one disk with a partial last block.
    static let definition = MachineDefinition(
        architecture: .x86_64, cores: 1, memory: 16 << 20, disks: [.init(size: 9 * 4096), .init(size: 4608)],
        boot: nil, macAddress: "52:54:00:12:34:56", generationID: "324e6eaf-d1d1-4bf6-bf41-b9bb6c91fb87")

    private static let vm = VMID.random()
    private static let device = DeviceID.random()

    /// The manifests that the fuzzed pack may have, each as its frame.
    private let frames: [Variant: [UInt8]]

    struct Variant: Hashable {
        var isOff: Bool
        var isKeyframe: Bool
        static let all = [false, true].flatMap { off in [false, true].map { Variant(isOff: off, isKeyframe: $0) } }
    }

    init() {
        frames = Dictionary(uniqueKeysWithValues: Variant.all.map { ($0, Self.frame(Self.manifest($0))) })
    }

    /// The manifest of the pack that follows the one with `parentDigest`.
    static func manifest(
        _ variant: Variant, sequence: UInt64 = 8, state: [UInt8] = PackRecipe.state,
        parentDigest: Hash128 = digest(isOff: false, sequence: 7, state: PackRecipe.parentState).combined
    ) -> Manifest {
        Manifest(
            vm: vm, sequence: Sequence(rawValue: sequence),
            parent: variant.isKeyframe ? .base : Sequence(rawValue: sequence - 1), epoch: Epoch(rawValue: 1),
            device: device, created: 0, kind: variant.isOff ? .off : .live, definition: definition, qemu: "7.2.22",
            parentDigest: parentDigest, digest: digest(isOff: variant.isOff, sequence: sequence, state: state),
            deviceStateBytes: variant.isOff ? 0 : state.count)
    }

    /// Of no state that there is: it tells the packs apart.
    static func digest(isOff: Bool, sequence: UInt64, state: [UInt8]) -> StateDigest {
        var digest = StateDigest.base(disks: definition.disks.count)
        digest.disks[0] = Hash128(value: UInt128(sequence))
        if !isOff { digest.deviceState = state.withUnsafeBytes { Hash128(of: $0) } }
        return digest
    }

    private static func frame(_ manifest: Manifest) -> [UInt8] {
        var frame: [UInt8] = []
        do {
            let json = Array(try JSONEncoder().encode(manifest))
            _ = try json.withUnsafeBytes { try ZstdCompressor().append($0, to: &frame) }
        } catch {
            preconditionFailure("a manifest can't be written: \(error)")
        }
        return frame
    }

    func pack(_ input: [UInt8], compressor: ZstdCompressor) -> [UInt8] {
        guard let head = input.first else { return [] }
        var reader = InputReader(input)
        reader.skip(1)
        if head & 3 == 3 { return signed(reader.rest) }
        let variant = Variant(isOff: head & 8 != 0, isKeyframe: head & 16 != 0)
        var sections: [UInt8]
        switch head & 3 {
        case 0: sections = reader.rest
        case 1: sections = SectionRecipe(compressor).sections(ofBytes: &reader)
        default: sections = SectionRecipe(compressor).sections(ofRecords: &reader)
        }
        if !variant.isOff, head & 32 == 0 {
            sections += SectionRecipe.header(kind: 3, compression: 0, raw: Self.state.count, stored: Self.state.count)
            sections += Self.state
        }
        let frame = frames[variant] ?? []
        let prologue =
            Array("VMSPACK\n".utf8) + little(UInt16(2)) + little(UInt16(head & 4 == 0 ? 0 : 1)) + little(UInt32(0))
        let trailer =
            little(UInt32(frame.count)) + little(SectionRecipe.count(sections)) + [UInt8](repeating: 0, count: 24)
        return signed(prologue + sections + frame + trailer)
    }

    /// `pack` with the length and the checksum of its trailer made right.
    private func signed(_ pack: [UInt8]) -> [UInt8] {
        guard pack.count >= 48 else { return pack }
        var pack = pack
        pack.replaceSubrange(pack.count - 24..<pack.count - 16, with: little(UInt64(pack.count)))
        let checksum = pack.withUnsafeBytes { Hash128(of: UnsafeRawBufferPointer(rebasing: $0.dropLast(16))) }
        pack.replaceSubrange(
            pack.count - 16..<pack.count, with: withUnsafeBytes(of: checksum.value.bigEndian, Array.init))
        return pack
    }
}

func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
