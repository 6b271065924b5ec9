/// The sizes of the format and what a reader accepts; the reasons stand in docs/format/checkpoint.md, "Limits".
package enum Unit {
    /// Bytes in a page of guest memory and in a block of a disk.
    package static let size = 4096

    /// How many units hold `bytes`; the last may be partial.
    package static func count(ofBytes bytes: UInt64) -> Int { Int((bytes + UInt64(size) - 1) / UInt64(size)) }
}

package enum Limits {
    /// Raw bytes at which a writer closes a section of units.
    package static let sectionTarget = 2 << 20
    /// Raw bytes of a section of units that a reader accepts.
    package static let sectionMax = 4 << 20
    package static let deviceStateMax = 256 << 20
    /// Bytes that memory carried last, kept for the device state.
    package static let contentWindow = 16 << 20
    /// Units that a replica saves before it applies a pack, because the pack both changes and uses them.
    package static let stashMax = 1 << 16
    package static let manifestMax = 1 << 20
    package static let disksMax = 16
    package static let memoryMax: UInt64 = 1 << 40
    package static let diskMax: UInt64 = 16 << 40
}
