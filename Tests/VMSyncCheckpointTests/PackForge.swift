import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// Packs byte by byte after docs/format/checkpoint.md, without the writer: also those that no writer would make.
struct PackForge {
    var version: UInt16 = 1
    var flags: UInt16 = 0
    var reserved: UInt32 = 0
    var sections: [Section] = []
    var manifest: Data
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
        static func units(kind: UInt8 = 1, disk: UInt16 = 0, _ records: [Record]) -> Section {
            let raw = unitBytes(records)
            return Section(kind: kind, disk: disk, rawLength: UInt64(raw.count), stored: raw)
        }

        static func deviceState(_ state: [UInt8]) -> Section {
            Section(kind: 3, rawLength: UInt64(state.count), stored: state)
        }
    }

    struct Record {
        var gap: UInt64
        var type: UInt8
        var length: UInt64?
        var payload: [UInt8] = []
    }

    init(_ manifest: Manifest, _ sections: [Section] = []) throws {
        self.manifest = try JSONEncoder().encode(manifest)
        self.sections = sections
    }

    static func unitBytes(_ records: [Record]) -> [UInt8] {
        let table = records.flatMap { varint($0.gap) + [$0.type] + ($0.length.map(varint) ?? []) }
        return little(UInt32(records.count)) + little(UInt32(table.count)) + table + records.flatMap(\.payload)
    }

    static func varint(_ value: UInt64) -> [UInt8] {
        value < 128 ? [UInt8(value)] : [UInt8(value & 127) | 128] + varint(value >> 7)
    }

    var bytes: [UInt8] {
        let head = Array("VMSPACK\n".utf8) + little(version) + little(flags) + little(reserved)
        let body = head + sections.flatMap(\.bytes) + manifest
        let trailer =
            little(UInt32(manifest.count)) + little(sectionCount ?? UInt32(sections.count)) + little(UInt64(0))
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

func little(_ value: some FixedWidthInteger) -> [UInt8] { withUnsafeBytes(of: value.littleEndian, Array.init) }
