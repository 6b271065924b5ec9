/// The fixed parts of a pack (docs/format/checkpoint.md, "Layout").
enum PackLayout {
    static let magic = Array("VMSPACK\n".utf8)
    static let version: UInt16 = 2
    static let prologueLength = 16
    static let sectionHeaderLength = 24
    static let trailerLength = 32

    /// The flag of a pack that begins with memory all zero.
    static let clearsMemory: UInt16 = 1

    static func prologue(flags: UInt16) -> [UInt8] {
        var bytes = magic
        append(version, to: &bytes)
        append(flags, to: &bytes)
        append(UInt32(0), to: &bytes)
        return bytes
    }

    static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
}

enum SectionKind: UInt8 {
    case memory = 1
    case disk = 2
    case deviceState = 3
}

enum SectionCompression: UInt8 {
    case none = 0
    case zstd = 1
    case zstdWithPrefix = 2
    case runsOverParent = 3

    /// Whether only a device state may be stored so.
    var needsParent: Bool { self == .zstdWithPrefix || self == .runsOverParent }
}

/// The 24 bytes before a section's stored bytes.
struct SectionHeader {
    var kind: SectionKind
    var compression: SectionCompression
    var disk: Int
    var rawLength: Int
    var storedLength: Int

    var bytes: [UInt8] {
        var bytes = [kind.rawValue, compression.rawValue]
        PackLayout.append(UInt16(disk), to: &bytes)
        PackLayout.append(UInt32(0), to: &bytes)
        PackLayout.append(UInt64(rawLength), to: &bytes)
        PackLayout.append(UInt64(storedLength), to: &bytes)
        return bytes
    }
}
