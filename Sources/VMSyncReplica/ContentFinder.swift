import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// Looks for the content of a unit where the receiver has it too: on the base images, in the parent checkpoint, in the
/// pack that is being written. Whatever it proposes has been compared byte by byte.
///
/// Takes 16 to 32 bytes per unit of memory, beside the indices of the base images, which are files. Belongs to one replica.
final class ContentFinder {
    /// More units than this aren't remembered, the latest are: 64 MiB.
    private static let unitsMax = 1 << 22

    private let standing: ContentIndex
    private let standingEntries: UnsafeMutableBufferPointer<UInt64>
    private let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: Unit.size, alignment: 64)
    /// The number of the first unit of each disk; those of memory begin at 0.
    private let firstOfDisk: [Int]
    private let memoryUnits: Int

    init(_ definition: MachineDefinition) {
        memoryUnits = definition.memoryUnits
        var first = memoryUnits
        var firstOfDisk: [Int] = []
        for disk in definition.disks.indices {
            firstOfDisk.append(first)
            first += definition.unitCount(of: .disk(disk))
        }
        self.firstOfDisk = firstOfDisk
        let count = ContentIndex.entryCount(forUnits: min(memoryUnits, Self.unitsMax))
        standingEntries = .allocate(capacity: count)
        standingEntries.initialize(repeating: 0)
        standing = ContentIndex(standingEntries)
    }

    deinit {
        standingEntries.deallocate()
        scratch.deallocate()
    }

    /// Notes that the parent checkpoint has `content` at `unit`.
    func insert(_ content: Hash128, at unit: UnitID) {
        if content != .zero { standing.insert(content, at: number(of: unit)) }
    }

    /// A place of the parent with this content for which `isThere` holds.
    func find(
        _ content: Hash128, where isThere: (UnitID) throws(VMSyncError) -> Bool
    ) throws(VMSyncError) -> UnitID? {
        try standing.find(content) { number throws(VMSyncError) in try isThere(unit(number)) }.map(unit)
    }

    /// A base block with these bytes.
    func findBase(
        _ content: Hash128, _ bytes: UnsafeRawBufferPointer, in bases: [BaseIndex?]
    ) throws(VMSyncError) -> UnitSource? {
        for (disk, base) in bases.enumerated() {
            if let block = try base?.find(content, bytes, scratch: scratch) { return .base(disk: disk, block: block) }
        }
        return nil
    }

    /// Whether `bytes` stand on `overlay` at `block`.
    func holds(_ overlay: OverlayDisk, _ block: Int, _ bytes: UnsafeRawBufferPointer) throws(VMSyncError) -> Bool {
        try overlay.readBlock(UInt64(block), into: scratch)
        return UnsafeRawBufferPointer(scratch).holdsSame(as: bytes)
    }

    private func number(of unit: UnitID) -> Int {
        switch unit.space {
        case .memory: unit.index
        case .disk(let disk): firstOfDisk[disk] + unit.index
        }
    }

    private func unit(_ number: Int) -> UnitID {
        guard number >= memoryUnits, let disk = firstOfDisk.lastIndex(where: { $0 <= number }) else {
            return UnitID(.memory, number)
        }
        return UnitID(.disk(disk), number - firstOfDisk[disk])
    }
}

/// The units that a pack gives so far, by content; made for one pack.
struct NewContents: ~Copyable {
    private let entries: UnsafeMutableBufferPointer<UInt64>
    private let index: ContentIndex

    init(pages: Int) {
        entries = .allocate(capacity: ContentIndex.entryCount(forUnits: pages))
        entries.initialize(repeating: 0)
        index = ContentIndex(entries)
    }

    deinit { entries.deallocate() }

    func insert(_ content: Hash128, page: Int) { index.insert(content, at: page) }

    func find(_ content: Hash128, _ bytes: UnsafeRawBufferPointer, in captured: CapturedPages) -> Int? {
        index.find(content) { page in
            captured.page(page)?.holdsSame(as: bytes) ?? false
        }
    }
}
