import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// What one pack may refer to, while it is written.
///
/// The cheapest to be right about comes first: a base image never changes; a unit of the parent must not be one that the
/// pack changes too, or the receiver would have to save it first; a page that the pack itself gives.
struct ContentSearch: ~Copyable {
    private let replica: Replica
    private let finder: ContentFinder
    private let usesMemory: Bool
    private let changedPages: [Range<Int>]
    private let changedBlocks: [IndexRuns]
    private let new: NewContents

    init(_ replica: Replica, _ capture: Capture, usesMemory: Bool) {
        self.replica = replica
        self.usesMemory = usesMemory
        finder = replica.contentFinder()
        changedPages = capture.runs
        changedBlocks = capture.frozen.map { frozen in
            var runs = IndexRuns()
            for block in frozen.blocks.map(\.index).sorted() { runs.add(Int(block)) }
            return runs
        }
        new = NewContents(pages: capture.pages)
    }

    /// Notes that the pack gives `content` to `page`.
    func noteNew(_ content: Hash128, page: Int) {
        if content != .zero { new.insert(content, page: page) }
    }

    /// Where the receiver finds `bytes`, if anywhere.
    func source(of content: Hash128, _ bytes: UnsafeRawBufferPointer) throws(VMSyncError) -> UnitSource? {
        if let base = try finder.findBase(content, bytes, in: replica.bases) { return base }
        let standing = try finder.find(content) { unit throws(VMSyncError) in
            try isStanding(unit, content, bytes)
        }
        if let standing { return .parent(standing) }
        guard usesMemory else { return nil }
        return new.find(content, bytes, in: replica.captured).map { .new(UnitID(.memory, $0)) }
    }

    private func isStanding(
        _ unit: UnitID, _ content: Hash128, _ bytes: UnsafeRawBufferPointer
    ) throws(VMSyncError) -> Bool {
        switch unit.space {
        case .memory:
            guard usesMemory, replica.pages[unit.index] == content,
                IndexRuns.find(unit.index, in: changedPages) == nil
            else { return false }
            // The guest runs again: a page that it has changed by now doesn't compare, and isn't used.
            return replica.memory.page(unit.index).holdsSame(as: bytes)
        case .disk(let number):
            let disk = replica.disks[number]
            guard disk.hashes[unit.index] == content, !changedBlocks[number].contains(unit.index) else { return false }
            return try finder.holds(disk.overlay, unit.index, bytes)
        }
    }
}

extension Replica {
    /// The finder, made when it is first needed: a standby needs none.
    func contentFinder() -> ContentFinder {
        if let finder { return finder }
        let made = ContentFinder(definition)
        for index in 0..<pages.count { made.insert(pages[index], at: UnitID(.memory, index)) }
        for (number, disk) in disks.enumerated() {
            disk.overlay.forEachPresentBlock { block, _ in
                made.insert(disk.hashes[Int(block)], at: UnitID(.disk(number), Int(block)))
            }
        }
        finder = made
        return made
    }
}
