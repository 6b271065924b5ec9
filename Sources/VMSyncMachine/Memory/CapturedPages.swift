import VMSyncCheckpoint
import VMSyncCore

/// Pages taken out of a guest, to be encoded when it runs again: most of them just before it is paused (`capture`), those
/// that it has written since in the pause (`recapture`).
///
/// What is copied is bounded. Where more was written, as before the first checkpoint after booting, nothing is copied:
/// the guest stays paused, and the pages are read window by window as they are encoded. So the host never holds a second
/// copy of the guest's memory.
///
/// Owned by one replica and used from its thread only. The buffer is kept from one checkpoint to the next.
package final class CapturedPages {
    /// Copied at least, whatever the size of the memory: 1,500 pages a second is a desktop playing a video.
    private static let copiedAtLeast = 4096
    /// The part of the memory that is copied at most.
    private static let copiedPart = 0.03
    /// Pages read at once from a guest that stays paused; 4 MiB.
    private static let windowPages = 1024
    /// Runs from this length on are looked through for holes, at two calls of the kernel each. What a guest reports as
    /// free comes in pieces of at least 2 MiB.
    private static let holePages = 32

    /// A part of what was captured, rising. A hole of the memory's file needs no copy: it is zero.
    private struct Piece {
        var pages: Range<Int>
        var isHole: Bool
        /// Where it begins in the copy, in pages.
        var first = 0
    }

    private let memory: GuestMemory
    /// Pages that are copied at most.
    private let limit: Int
    private var pieces: [Piece] = []
    private var buffer: UnsafeMutableRawBufferPointer
    private let zeros: UnsafeMutableRawBufferPointer
    /// Pages captured, without those of holes.
    package private(set) var count = 0
    /// Whether the pages are copied. If not, the guest must stay paused until the last `forEach`.
    package private(set) var isCopied = true

    package init(of memory: GuestMemory) {
        self.memory = memory
        limit = min(memory.units, max(Self.copiedAtLeast, Int(Double(memory.units) * Self.copiedPart)))
        buffer = Self.allocate(pages: 0)
        zeros = Self.allocate(pages: 1)
    }

    deinit {
        buffer.deallocate()
        zeros.deallocate()
    }

    /// Zeroed, and so in memory: the first touch of a page takes its time, which must not lie in a pause.
    private static func allocate(pages: Int) -> UnsafeMutableRawBufferPointer {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: pages * Unit.size, alignment: Unit.size)
        buffer.initializeMemory(as: UInt8.self, repeating: 0)
        return buffer
    }

    /// Makes the buffer, which a standby doesn't need; before the pause, so that it isn't made in it.
    package func prepare() {
        guard buffer.count < limit * Unit.size else { return }
        buffer.deallocate()
        buffer = Self.allocate(pages: limit)
    }

    /// Takes `runs`, which rise without overlap; what was captured before is forgotten.
    package func capture(_ runs: [Range<Int>]) throws(VMSyncError) {
        prepare()
        count = 0
        pieces = split(runs)
        isCopied = count <= limit
        if isCopied { try copy(pieces) }
    }

    /// Takes `runs`, which rise without overlap, anew or in addition; the other captured pages stay as they are. Only
    /// while `isCopied`. Where it becomes more than is copied, nothing is.
    package func recapture(_ runs: [Range<Int>]) throws(VMSyncError) {
        precondition(isCopied)
        let fresh = try overwrite(runs)
        if fresh.isEmpty { return }
        let kept = pieces.flatMap { $0.isHole ? Self.parts(of: $0, without: fresh) : [$0] }
        let added = split(fresh)
        pieces = (kept + added).sorted { $0.pages.lowerBound < $1.pages.lowerBound }
        isCopied = count <= limit
        if isCopied { try copy(added) }
    }

    /// Splits `runs` into pieces, which get the next places in the copy.
    private func split(_ runs: [Range<Int>]) -> [Piece] {
        var split: [Piece] = []
        for run in runs {
            if run.count < Self.holePages {
                split.append(Piece(pages: run, isHole: false))
            } else {
                for piece in memory.pieces(of: run) { split.append(Piece(pages: piece.pages, isHole: piece.isHole)) }
            }
        }
        for piece in split.indices where !split[piece].isHole {
            split[piece].first = count
            count += split[piece].pages.count
        }
        return split
    }

    private func copy(_ pieces: [Piece]) throws(VMSyncError) {
        for piece in pieces where !piece.isHole { try copy(piece.pages, of: piece) }
    }

    private func copy(_ pages: Range<Int>, of piece: Piece) throws(VMSyncError) {
        let start = (piece.first + pages.lowerBound - piece.pages.lowerBound) * Unit.size
        let end = start + pages.count * Unit.size
        try memory.read(pages, into: UnsafeMutableRawBufferPointer(rebasing: buffer[start..<end]))
    }

    /// Copies those pages of `runs` that have a place in the copy.
    /// - Returns: the other ones, rising without overlap.
    private func overwrite(_ runs: [Range<Int>]) throws(VMSyncError) -> [Range<Int>] {
        var fresh: [Range<Int>] = []
        var next = 0
        for run in runs {
            var start = run.lowerBound
            while start < run.upperBound {
                while next < pieces.count, pieces[next].pages.upperBound <= start { next += 1 }
                let isHeld = next < pieces.count && pieces[next].pages.contains(start)
                let bound =
                    next < pieces.count
                    ? (isHeld ? pieces[next].pages.upperBound : pieces[next].pages.lowerBound) : run.upperBound
                let part = start..<min(run.upperBound, bound)
                if isHeld, !pieces[next].isHole { try copy(part, of: pieces[next]) } else { fresh.append(part) }
                start = part.upperBound
            }
        }
        return fresh
    }

    /// What is left of a hole when `runs`, which rise without overlap, are taken out of it.
    private static func parts(of hole: Piece, without runs: [Range<Int>]) -> [Piece] {
        var parts: [Piece] = []
        var start = hole.pages.lowerBound
        for run in runs where run.overlaps(hole.pages) {
            if run.lowerBound > start { parts.append(Piece(pages: start..<run.lowerBound, isHole: true)) }
            start = run.upperBound
        }
        if start < hole.pages.upperBound { parts.append(Piece(pages: start..<hole.pages.upperBound, isHole: true)) }
        return parts
    }

    /// Hands out each page with its index, rising.
    package func forEach(
        _ body: (Int, UnsafeRawBufferPointer) throws(VMSyncError) -> Void
    ) throws(VMSyncError) {
        for piece in pieces {
            if piece.isHole {
                for index in piece.pages { try body(index, UnsafeRawBufferPointer(zeros)) }
            } else if isCopied {
                try hand(out: piece.pages, from: piece.first * Unit.size, to: body)
            } else {
                try handOutWindows(of: piece.pages, to: body)
            }
        }
    }

    /// Page `index` as it was captured; nil if it wasn't, or is a hole.
    package func page(_ index: Int) -> UnsafeRawBufferPointer? {
        var (low, high) = (0, pieces.count)
        while low < high {
            let middle = (low + high) / 2
            if pieces[middle].pages.upperBound <= index { low = middle + 1 } else { high = middle }
        }
        guard low < pieces.count, pieces[low].pages.contains(index), !pieces[low].isHole else { return nil }
        // Not copied, the guest is paused: its memory is what was captured.
        guard isCopied else { return memory.page(index) }
        let start = (pieces[low].first + index - pieces[low].pages.lowerBound) * Unit.size
        return UnsafeRawBufferPointer(rebasing: buffer[start..<start + Unit.size])
    }

    private func handOutWindows(
        of pages: Range<Int>, to body: (Int, UnsafeRawBufferPointer) throws(VMSyncError) -> Void
    ) throws(VMSyncError) {
        var next = pages.lowerBound
        while next < pages.upperBound {
            let window = next..<min(next + min(Self.windowPages, limit), pages.upperBound)
            try memory.read(
                window, into: UnsafeMutableRawBufferPointer(rebasing: buffer[0..<window.count * Unit.size]))
            try hand(out: window, from: 0, to: body)
            next = window.upperBound
        }
    }

    /// The pages stand in the buffer from byte `start` on.
    private func hand(
        out pages: Range<Int>, from start: Int, to body: (Int, UnsafeRawBufferPointer) throws(VMSyncError) -> Void
    ) throws(VMSyncError) {
        for (number, index) in pages.enumerated() {
            let offset = start + number * Unit.size
            try body(index, UnsafeRawBufferPointer(rebasing: buffer[offset..<offset + Unit.size]))
        }
    }

    /// Forgets the pages; the guest may run.
    package func forget() {
        pieces.removeAll(keepingCapacity: true)
        count = 0
        isCopied = true
    }
}
