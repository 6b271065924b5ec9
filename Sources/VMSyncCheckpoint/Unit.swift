/// Memory or one of the disks.
package enum UnitSpace: Hashable, Comparable, Sendable {
    case memory
    case disk(Int)
}

/// One unit of a VM's state: a page of its memory or a block of a disk.
package struct UnitID: Hashable, Comparable, Sendable {
    package var space: UnitSpace
    package var index: Int

    package init(_ space: UnitSpace, _ index: Int) {
        self.space = space
        self.index = index
    }

    /// The order of a pack.
    package static func < (left: UnitID, right: UnitID) -> Bool {
        (left.space, left.index) < (right.space, right.index)
    }
}

/// Where a unit's content comes from (docs/format/checkpoint.md, "What a pack says"). All of it is of the parent
/// checkpoint, of a base image, or of the pack itself. The bytes live as long as the call that hands them out.
package enum UnitSource {
    case zero
    /// 4096 bytes.
    case whole(UnsafeRawBufferPointer)
    /// What the unit is in the parent.
    case own
    /// A block of the base image of a disk.
    case base(disk: Int, block: Int)
    /// A unit as the parent checkpoint has it.
    case parent(UnitID)
    /// A unit as this pack makes it; an earlier record names it.
    case new(UnitID)
}

/// What a record makes of its unit: a source, overwritten by runs, which may be none.
package struct UnitValue {
    package var source: UnitSource
    package var runs: Runs

    package init(_ source: UnitSource, runs: Runs = .none) {
        self.source = source
        self.runs = runs
    }
}

/// How a source is written: the low bits of a byte of the column `kinds`.
enum SourceCode: UInt8 {
    case zero = 0
    case whole = 1
    case pixels = 2
    case own = 3
    case base = 4
    case memory = 5
    case disk = 6
    case newMemory = 7
    case newDisk = 8
    case samples = 9

    /// The bit beside the source that says that there are runs.
    static let runsFlag: UInt8 = 0x10
    static let sourceMask: UInt8 = 0x0F

    /// Whether its reference names a disk before the block.
    var namesDisk: Bool { self == .base || self == .disk || self == .newDisk }
}
