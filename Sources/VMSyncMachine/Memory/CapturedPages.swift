import VMSyncCheckpoint

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Pages copied out of a paused guest, to be encoded when it runs again.
///
/// Owned by one replica and used from its thread only. The memory is kept from one checkpoint to the next; it is given
/// back when a checkpoint needed far less.
package final class CapturedPages {
    /// Kept at least, so that ordinary checkpoints allocate nothing: 1,500 pages a second is a desktop playing a video.
    private static let pagesKept = 4096

    /// Rising, without overlap.
    package private(set) var runs: [Range<Int>] = []
    package private(set) var count = 0
    /// How many pages lie before each run.
    private var offsets: [Int] = []
    private var storage: UnsafeMutableRawBufferPointer

    package init() { storage = Self.allocate(pages: Self.pagesKept) }

    deinit { storage.deallocate() }

    private static func allocate(pages: Int) -> UnsafeMutableRawBufferPointer {
        .allocate(byteCount: pages * Unit.size, alignment: Unit.size)
    }

    /// Copies `runs` out of `memory`; what was captured before is forgotten.
    package func capture(_ runs: [Range<Int>], from memory: GuestMemory) {
        self.runs = runs
        count = 0
        offsets.removeAll(keepingCapacity: true)
        for run in runs {
            offsets.append(count)
            count += run.count
        }
        fit(count)
        var offset = 0
        for run in runs {
            let source = memory.pages(run)
            UnsafeMutableRawBufferPointer(rebasing: storage[offset..<offset + source.count]).copyMemory(from: source)
            offset += source.count
        }
    }

    /// Hands out each page with its index, rising.
    package func forEach<Failure>(_ body: (Int, UnsafeRawBufferPointer) throws(Failure) -> Void) throws(Failure) {
        var offset = 0
        for run in runs {
            for index in run {
                try body(index, UnsafeRawBufferPointer(rebasing: storage[offset..<offset + Unit.size]))
                offset += Unit.size
            }
        }
    }

    /// Page `index` as it was captured; nil if it wasn't.
    package func page(_ index: Int) -> UnsafeRawBufferPointer? {
        guard let run = IndexRuns.find(index, in: runs) else { return nil }
        let start = (offsets[run] + index - runs[run].lowerBound) * Unit.size
        return UnsafeRawBufferPointer(rebasing: storage[start..<start + Unit.size])
    }

    /// Forgets the pages. The guest runs again, so there is time to give memory back that an ordinary checkpoint, of a
    /// small part of this one, doesn't need.
    package func forget() {
        let isTooLarge = held > Self.pagesKept && count < held / 8
        runs = []
        count = 0
        if isTooLarge { resize(to: Self.pagesKept) }
    }

    private var held: Int { storage.count / Unit.size }

    private func fit(_ pages: Int) {
        if pages > held { resize(to: pages + pages / 4) }
    }

    private func resize(to pages: Int) {
        storage.deallocate()
        storage = Self.allocate(pages: pages)
    }
}
