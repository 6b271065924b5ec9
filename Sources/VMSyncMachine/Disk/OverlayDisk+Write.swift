import Synchronization
import VMSyncCore

extension OverlayDisk {
    /// Stores `bytes` from `offset` on, at any alignment. With `fua` they are on permanent storage when it returns.
    /// - Throws: `noSpace` if the host's disk is full: the range then holds old or new bytes, all else is untouched.
    package func store(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, fua: Bool = false) throws(VMSyncError) {
        try forEachPart(of: offset, UInt64(bytes.count)) { part throws(VMSyncError) in
            let start = Int(part.lowerBound - offset)
            let end = Int(part.upperBound - offset)
            try writePart(UnsafeRawBufferPointer(rebasing: bytes[start..<end]), at: part.lowerBound)
        }
        if fua { try flush() }
    }

    /// Makes the range read as zeros. With `mayTrim` its storage is given back; without, what is there is kept.
    package func zero(
        at offset: UInt64, length: UInt64, mayTrim: Bool, fua: Bool = false
    ) throws(VMSyncError) {
        try forEachPart(of: offset, length) { part throws(VMSyncError) in try zeroPart(part, mayTrim: mayTrim) }
        if fua { try flush() }
    }

    /// Whether a flush would find nothing to do.
    package var isFlushed: Bool {
        flushedChanges.load(ordering: .acquiring) == changes.load(ordering: .acquiring)
    }

    /// Returns when all that was stored before the call is on permanent storage, content before states (see the type).
    package func flush() throws(VMSyncError) {
        let result = durable.withLock { durable in
            Result { () throws(VMSyncError) in try flush(&durable) }
        }
        try result.get()
    }

    private func flush(_ durable: inout Durable) throws(VMSyncError) {
        if let failure = durable.failure { throw failure }
        // QEMU flushes in each pause. A sync that finds nothing to write takes 0.2 ms on ext4, one in ten a whole one.
        guard !isFlushed else { return }
        let covered = changes.load(ordering: .acquiring)
        let tooLong = durable.log.bytes > durable.rewriteAbove
        let unlogged = state.withLock { $0.takeUnlogged() }
        // States are read from the map before the content is made durable, as the changes are.
        let all = unlogged == nil || tooLong ? map.presentRuns() : nil
        do {
            try overlay.sync()
        } catch {
            durable.failure = error.during("the disk can't be made durable any more")
            throw error
        }
        do {
            if let all {
                try durable.log.replace(with: all)
                durable.rewriteAbove = Self.logBytesMax(map, durable.log)
            } else if let unlogged, !unlogged.isEmpty {
                try durable.log.append(unlogged)
            }
        } catch {
            // Nothing was acknowledged, and the next flush logs everything.
            state.withLock { $0.rewriteLog() }
            throw error
        }
        flushedChanges.store(covered, ordering: .releasing)
    }
}

// MARK: - One part, under its lock

extension OverlayDisk {
    /// Runs `body` for each piece of the range, under the piece's lock.
    private func forEachPart(
        of offset: UInt64, _ length: UInt64, _ body: (Range<UInt64>) throws(VMSyncError) -> Void
    ) throws(VMSyncError) {
        let end = try checkedEnd(of: offset, length)
        var at = offset
        while at < end {
            let next = min(end, (at / StripedLock.partBytes + 1) * StripedLock.partBytes)
            try exclusively(at: at) { () throws(VMSyncError) in try body(at..<next) }
            at = next
        }
    }

    /// Runs `body` under the lock of the part at `offset`.
    /// - Throws: `wrongState` if the disk is closed, and what `body` throws.
    func exclusively(at offset: UInt64, _ body: () throws(VMSyncError) -> Void) throws(VMSyncError) {
        let result = stripes.with(offset: offset) {
            Result { () throws(VMSyncError) in
                guard !isClosed.load(ordering: .acquiring) else {
                    throw VMSyncError(.wrongState, "the disk in \(folder) is closed")
                }
                // Also what has failed may have changed something.
                defer { changes.add(1, ordering: .releasing) }
                try body()
            }
        }
        try result.get()
    }

    private func writePart(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(VMSyncError) {
        let end = offset + UInt64(bytes.count)
        let blocks = Self.blocks(touching: offset..<end)
        preserve(blocks)
        if !isWhole(blocks.lowerBound, in: offset..<end) { try fill(blocks.lowerBound) }
        if blocks.count > 1, !isWhole(blocks.upperBound - 1, in: offset..<end) { try fill(blocks.upperBound - 1) }
        state.withLock { $0.stamp(blocks, in: map, as: .data) { $0 == .data } }
        try overlay.write(bytes, at: offset)
        state.withLock { $0.stamp(blocks, in: map, as: .data) { $0 != .data } }
    }

    /// Puts the content of a block that has none there into the overlay, so that a part of it can be overwritten.
    private func fill(_ block: UInt64) throws(VMSyncError) {
        guard map[block].state != .data else { return }
        let offset = block * UInt64(DiskBlock.size)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: blockLength(block), alignment: DiskBlock.size)
        defer { buffer.deallocate() }
        try load(at: offset, into: buffer)
        try overlay.write(UnsafeRawBufferPointer(buffer), at: offset)
    }

    private func zeroPart(_ part: Range<UInt64>, mayTrim: Bool) throws(VMSyncError) {
        let whole = wholeBlocks(in: part)
        guard !whole.isEmpty else { return try writeZeros(part) }
        let start = whole.lowerBound * UInt64(DiskBlock.size)
        let end = min(whole.upperBound * UInt64(DiskBlock.size), size)
        try writeZeros(part.lowerBound..<start)
        try writeZeros(min(end, part.upperBound)..<part.upperBound)
        zeroBlocks(whole, bytes: start..<end, mayTrim: mayTrim)
    }

    /// A block that reads as zeros already is left alone: a guest that trims its whole disk changes nothing there.
    private func zeroBlocks(_ blocks: Range<UInt64>, bytes: Range<UInt64>, mayTrim: Bool) {
        preserve(blocks)
        let hasData = blocks.contains { map[$0].state == .data }
        let baseIsZero = base.isHole(at: bytes.lowerBound, length: bytes.upperBound - bytes.lowerBound)
        state.withLock { shared in
            shared.stamp(blocks, in: map, as: .zero) { state in
                state == .data || (state == .absent && !baseIsZero)
            }
        }
        if mayTrim, hasData { overlay.punchHole(at: bytes.lowerBound, length: bytes.upperBound - bytes.lowerBound) }
    }

    /// Less than a block, or the ends of a range that isn't aligned: written like any other bytes.
    private func writeZeros(_ range: Range<UInt64>) throws(VMSyncError) {
        guard !range.isEmpty else { return }
        let zeros = UnsafeMutableRawBufferPointer.allocate(byteCount: range.count, alignment: DiskBlock.size)
        defer { zeros.deallocate() }
        zeroFill(zeros)
        try writePart(UnsafeRawBufferPointer(zeros), at: range.lowerBound)
    }
}

// MARK: - Blocks and bytes

extension OverlayDisk {
    static func blocks(touching bytes: Range<UInt64>) -> Range<UInt64> {
        let size = UInt64(DiskBlock.size)
        return bytes.lowerBound / size..<(bytes.upperBound + size - 1) / size
    }

    /// The blocks that lie in `bytes` with all their bytes; the last one of the disk may be short.
    private func wholeBlocks(in bytes: Range<UInt64>) -> Range<UInt64> {
        let size = UInt64(DiskBlock.size)
        let first = (bytes.lowerBound + size - 1) / size
        let end = bytes.upperBound == self.size ? map.blockCount : bytes.upperBound / size
        return first..<max(first, end)
    }

    func isWhole(_ block: UInt64, in bytes: Range<UInt64>) -> Bool {
        let start = block * UInt64(DiskBlock.size)
        return bytes.lowerBound <= start && start + UInt64(blockLength(block)) <= bytes.upperBound
    }

    /// Bytes of a block that lie on the disk.
    func blockLength(_ block: UInt64) -> Int {
        Int(min(UInt64(DiskBlock.size), size - block * UInt64(DiskBlock.size)))
    }

    /// - Throws: `invalidInput` if the range reaches beyond the disk.
    func checkedEnd(of offset: UInt64, _ length: UInt64) throws(VMSyncError) -> UInt64 {
        let end = offset.addingReportingOverflow(length)
        guard !end.overflow, end.partialValue <= size else {
            throw VMSyncError(.invalidInput, "\(length) bytes at \(offset) reach beyond the disk of \(size) bytes")
        }
        return end.partialValue
    }
}
