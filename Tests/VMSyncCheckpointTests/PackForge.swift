import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// Packs byte by byte after docs/format/checkpoint.md, without the writer: also those that no writer would make.
struct PackForge {
    var version: UInt16 = 2
    var flags: UInt16 = 0
    var reserved: UInt32 = 0
    var sections: [Section] = []
    /// One zstd frame, or what stands in its place.
    var manifestFrame: [UInt8]
    /// What the trailer says; nil says the truth.
    var sectionCount: UInt32?

    struct Section {
        var kind: UInt8
        var compression: UInt8 = 0
        var disk: UInt16 = 0
        var reserved: UInt32 = 0
        var rawLength: UInt64
        var stored: [UInt8]

        var bytes: [UInt8] {
            [kind, compression] + little(disk) + little(reserved) + little(rawLength) + little(UInt64(stored.count))
                + stored
        }

        /// A section of units that is stored as it is.
        static func units(kind: UInt8 = 1, disk: UInt16 = 0, _ records: [UnitRecord]) -> Section {
            let raw = UnitColumns(records).bytes
            return Section(kind: kind, disk: disk, rawLength: UInt64(raw.count), stored: raw)
        }

        static func deviceState(_ state: [UInt8]) -> Section {
            Section(kind: 3, rawLength: UInt64(state.count), stored: state)
        }
    }

    init(_ manifest: Manifest, _ sections: [Section] = []) throws {
        manifestFrame = ZstdFrame(Array(try JSONEncoder().encode(manifest))).bytes
        self.sections = sections
    }

    var bytes: [UInt8] {
        let head = Array("VMSPACK\n".utf8) + little(version) + little(flags) + little(reserved)
        let body = head + sections.flatMap(\.bytes) + manifestFrame
        let trailer =
            little(UInt32(manifestFrame.count)) + little(sectionCount ?? UInt32(sections.count)) + little(UInt64(0))
        return Self.signed(body + trailer + [UInt8](repeating: 0, count: 16))
    }

    /// `pack` with its length and its checksum made right again, so that the checks behind them are reached.
    static func signed(_ pack: [UInt8]) -> [UInt8] {
        var pack = pack
        pack.replaceSubrange(pack.count - 24..<pack.count - 16, with: little(UInt64(pack.count)))
        let checksum = pack.withUnsafeBytes { Hash128(of: UnsafeRawBufferPointer(rebasing: $0.dropLast(16))) }
        pack.replaceSubrange(
            pack.count - 16..<pack.count, with: withUnsafeBytes(of: checksum.value.bigEndian, Array.init))
        return pack
    }
}

/// A zstd frame without any compression, byte by byte (RFC 8878, 3.1.1): so it can also be one that lies.
struct ZstdFrame {
    /// What its header says that it holds.
    var contentSize: Int
    private var blocks: [UInt8] = []
    private static let blockMax = 128 << 10

    init(_ content: [UInt8]) {
        contentSize = content.count
        var offset = 0
        repeat {
            let block = content[offset..<min(content.count, offset + Self.blockMax)]
            offset += block.count
            blocks += Self.header(type: 0, size: block.count, isLast: offset == content.count) + block
        } while offset < content.count
    }

    /// `count` times the same byte, in four bytes for each 128 KiB.
    init(repeating byte: UInt8, count: Int) {
        contentSize = count
        var left = count
        while left > 0 {
            let size = min(left, Self.blockMax)
            left -= size
            blocks += Self.header(type: 1, size: size, isLast: left == 0) + [byte]
        }
    }

    /// One segment, its size in eight bytes, no checksum.
    var bytes: [UInt8] { [0x28, 0xB5, 0x2F, 0xFD, 0xE0] + little(UInt64(contentSize)) + blocks }

    /// The same without a word on its size; a window of 8 MiB.
    var bytesWithoutSize: [UInt8] { [0x28, 0xB5, 0x2F, 0xFD, 0x00, 13 << 3] + blocks }

    private static func header(type: Int, size: Int, isLast: Bool) -> [UInt8] {
        Array(little(UInt32((isLast ? 1 : 0) | type << 1 | size << 3)).prefix(3))
    }
}

func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
