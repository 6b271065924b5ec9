import VMSyncCore

/// The part of an open disk that its threads share under one short lock: numbers, counts and what isn't logged yet.
struct OverlayState {
    /// A point in time that a `FrozenDisk` shows: blocks whose last change is in here must be kept as they are.
    struct Window {
        /// Tells this window from the next one, which may have the same numbers.
        let id: UInt64
        /// Numbers up to this one are outside.
        let floor: UInt64
        let upTo: UInt64
        /// Why the point in time is lost, if it is.
        var failure: VMSyncError?

        func contains(_ number: UInt64) -> Bool { number > floor && number <= upTo }
    }

    /// State changes that are kept one by one until the next flush. Above it the flush writes the whole map instead.
    private static let unloggedRunsMax = 65536

    private(set) var dataBlocks: UInt64 = 0
    private(set) var zeroBlocks: UInt64 = 0
    private(set) var dirtyBlocks: UInt64 = 0
    private var journal = BlockJournal()
    private var unlogged: [StateRun] = []
    private var mustRewriteLog = false
    private var windowCount: UInt64 = 0
    private(set) var window: Window?
    /// A closed window's copies are still being thrown away.
    private var isReleasing = false

    /// Takes the content of an open map. One scan, the only one.
    init(scanning map: BlockMap) throws(VMSyncError) {
        var dirty: [(number: UInt64, block: UInt64)] = []
        var highest: UInt64 = 0
        for block in 0..<map.blockCount {
            let entry = map[block]
            guard entry.isValid else {
                throw VMSyncError(.corrupt, "block \(block) of the disk's map has no valid state")
            }
            count(entry.state, +)
            highest = max(highest, entry.number)
            if entry.number > map.sealedNumber { dirty.append((entry.number, block)) }
        }
        // The process may have died between an entry and the header.
        map.nextNumber = max(map.nextNumber, highest + 1)
        dirtyBlocks = UInt64(dirty.count)
        for change in dirty.sorted(by: { $0.number < $1.number }) { journal.append(change.block, change.number) }
    }

    /// Forgets all blocks, as after a reset.
    mutating func forgetBlocks() {
        (dataBlocks, zeroBlocks, dirtyBlocks) = (0, 0, 0)
        journal = BlockJournal()
        _ = takeUnlogged()
    }

    /// Gives each block of the range whose state fits the next number and the state `new`.
    mutating func stamp(
        _ blocks: Range<UInt64>, in map: BlockMap, as new: BlockState, where fits: (BlockState) -> Bool
    ) {
        var next = map.nextNumber
        let sealed = map.sealedNumber
        for block in blocks {
            let old = map[block]
            guard fits(old.state) else { continue }
            if old.number <= sealed { dirtyBlocks += 1 }
            note(block, from: old.state, to: new)
            map[block] = BlockEntry(new, number: next)
            journal.append(block, next)
            next += 1
        }
        map.nextNumber = next
        journal.sweepIfWorthwhile(live: dirtyBlocks) { block, number in map[block].number == number }
    }

    /// Gives a block the state `new` as content that came from elsewhere: it is clean.
    mutating func stampApplied(_ block: UInt64, in map: BlockMap, as new: BlockState) {
        let old = map[block]
        if old.number > map.sealedNumber { dirtyBlocks -= 1 }
        note(block, from: old.state, to: new)
        map[block] = BlockEntry(new, number: BlockMap.appliedNumber)
    }

    /// Makes the numbers up to and including `last` clean.
    mutating func seal(upTo last: UInt64, in map: BlockMap) {
        let sealed = min(last, map.nextNumber - 1)
        guard sealed > map.sealedNumber else { return }
        var cleaned: UInt64 = 0
        journal.removeEntries(upTo: sealed) { block, number in if map[block].number == number { cleaned += 1 } }
        dirtyBlocks -= cleaned
        map.sealedNumber = sealed
    }

    /// The dirty blocks, the one whose last change is oldest first.
    func dirty(in map: BlockMap) -> [FrozenBlock] {
        var blocks: [FrozenBlock] = []
        blocks.reserveCapacity(Int(dirtyBlocks))
        journal.forEach { block, number in
            let entry = map[block]
            if entry.number == number { blocks.append(FrozenBlock(index: block, state: entry.state)) }
        }
        return blocks
    }

    /// Keeps the counts, and what the next flush has to log.
    private mutating func note(_ block: UInt64, from old: BlockState, to new: BlockState) {
        guard old != new else { return }
        count(old, -)
        count(new, +)
        guard !mustRewriteLog else { return }
        unlogged.append(block, new)
        if unlogged.count > Self.unloggedRunsMax { rewriteLog() }
    }

    private mutating func count(_ state: BlockState, _ change: (UInt64, UInt64) -> UInt64) {
        switch state {
        case .absent: break
        case .data: dataBlocks = change(dataBlocks, 1)
        case .zero: zeroBlocks = change(zeroBlocks, 1)
        }
    }
}

// MARK: - The window of a frozen disk

extension OverlayState {
    /// Opens a window over the numbers above `floor` that were given so far; nil if there is one.
    mutating func openWindow(above floor: UInt64, in map: BlockMap) -> Window? {
        guard window == nil, !isReleasing else { return nil }
        windowCount += 1
        window = Window(id: windowCount, floor: floor, upTo: map.nextNumber - 1)
        return window
    }

    /// Nothing can be read through the window any more.
    mutating func failWindow(_ error: VMSyncError) { window?.failure = error }

    /// False if that window is closed already. Another one can be opened after `endRelease`.
    mutating func closeWindow(_ id: UInt64) -> Bool {
        guard window?.id == id else { return false }
        window = nil
        isReleasing = true
        return true
    }

    mutating func endRelease() { isReleasing = false }
}

// MARK: - What the next flush has to log

extension OverlayState {
    /// The changes since the last call, oldest first; nil if the log has to be written anew from the map.
    mutating func takeUnlogged() -> [StateRun]? {
        defer {
            unlogged = []
            mustRewriteLog = false
        }
        return mustRewriteLog ? nil : unlogged
    }

    /// The next flush writes the whole map: there are too many changes, or it isn't known which ones are missing.
    mutating func rewriteLog() {
        unlogged = []
        mustRewriteLog = true
    }
}
