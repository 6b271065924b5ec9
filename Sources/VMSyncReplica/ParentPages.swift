import VMSyncCheckpoint

/// Pages as the parent checkpoint has them, for deltas: a cache, bounded to a share of guest RAM.
///
/// A page that was sent lately is likely to be sent again, so the pages of recent packs are kept; the longest unused go
/// first (CLOCK, a second chance per use). A page that isn't here is sent whole: dearer, never wrong.
/// Owned by one replica and used from its thread only.
package final class ParentPages {
    /// The part of guest RAM that the cache may take: 41 MiB of 1 GiB, what a film writes in five seconds.
    private static let part = 0.04
    /// Even a small guest gets a useful cache: 8 MiB.
    private static let pagesMin = 2048

    private let storage: UnsafeMutableRawBufferPointer
    private var slotOfPage: [Int32]
    private var pageOfSlot: [Int32]
    private var used: [Bool]
    private var hand = 0

    package init(memoryUnits: Int) {
        let slots = min(memoryUnits, max(Int(Double(memoryUnits) * Self.part), Self.pagesMin))
        storage = .allocate(byteCount: slots * Unit.size, alignment: Unit.size)
        slotOfPage = Array(repeating: -1, count: memoryUnits)
        pageOfSlot = Array(repeating: -1, count: slots)
        used = Array(repeating: false, count: slots)
    }

    deinit { storage.deallocate() }

    /// Page `index` of the parent, if it is known.
    package func page(_ index: Int) -> UnsafeRawBufferPointer? {
        let slot = Int(slotOfPage[index])
        guard slot >= 0 else { return nil }
        used[slot] = true
        return UnsafeRawBufferPointer(rebasing: storage[slot * Unit.size..<(slot + 1) * Unit.size])
    }

    /// Remembers what page `index` is from now on.
    package func keep(_ index: Int, _ page: UnsafeRawBufferPointer) {
        var slot = Int(slotOfPage[index])
        if slot >= 0 {
            used[slot] = true
        } else {
            // Not yet a use: else a flood of pages that come once would drive all others out.
            slot = freeSlot()
            slotOfPage[index] = Int32(slot)
            pageOfSlot[slot] = Int32(index)
        }
        UnsafeMutableRawBufferPointer(rebasing: storage[slot * Unit.size..<(slot + 1) * Unit.size])
            .copyMemory(from: page)
    }

    package func forget(_ index: Int) {
        let slot = Int(slotOfPage[index])
        guard slot >= 0 else { return }
        slotOfPage[index] = -1
        pageOfSlot[slot] = -1
        used[slot] = false
    }

    package func forgetAll() {
        for slot in pageOfSlot.indices where pageOfSlot[slot] >= 0 { forget(Int(pageOfSlot[slot])) }
    }

    private func freeSlot() -> Int {
        while used[hand] {
            used[hand] = false
            hand = (hand + 1) % used.count
        }
        let slot = hand
        hand = (hand + 1) % used.count
        let evicted = Int(pageOfSlot[slot])
        if evicted >= 0 { slotOfPage[evicted] = -1 }
        return slot
    }
}
