import NBD
import VMSyncCore

extension OverlayDisk {
    /// Fills `buffer` with the disk's bytes from `offset` on. Takes no lock: a read that meets a write of the same bytes
    /// sees the old ones, the new ones, or some of each.
    package func load(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(VMSyncError) {
        let end = try checkedEnd(of: offset, UInt64(buffer.count))
        var at = offset
        while at < end {
            let (state, next) = run(from: at, to: end)
            let slice = buffer[Int(at - offset)..<Int(next - offset)]
            try load(state, at: at, into: UnsafeMutableRawBufferPointer(rebasing: slice))
            at = next
        }
    }

    /// The same if all of it is in memory; or else gives false at once. Doesn't block, and so may be called anywhere.
    package func loadCached(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        guard let end = try? checkedEnd(of: offset, UInt64(buffer.count)) else { return false }
        var at = offset
        while at < end {
            let (state, next) = run(from: at, to: end)
            let slice = UnsafeMutableRawBufferPointer(rebasing: buffer[Int(at - offset)..<Int(next - offset)])
            switch state {
            case .data: guard overlay.readCached(into: slice, at: at) else { return false }
            case .zero: zeroFill(slice)
            case .absent: guard base.readCached(into: slice, at: at) else { return false }
            }
            at = next
        }
        return true
    }

    /// One block as `DiskBlock.size` bytes; those beyond the end of the disk are zero.
    package func readBlock(_ block: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(VMSyncError) {
        try check(block, buffer.count)
        let length = blockLength(block)
        try load(
            at: block * UInt64(DiskBlock.size), into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<length]))
        zeroFill(UnsafeMutableRawBufferPointer(rebasing: buffer[length...]))
    }

    /// One block of the base image as `DiskBlock.size` bytes, whatever the VM has put in its place.
    package func readBase(_ block: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws(VMSyncError) {
        try check(block, buffer.count)
        try base.read(into: buffer, at: block * UInt64(DiskBlock.size))
    }

    /// Whether nothing of the base image is still to come.
    package var hasWholeBase: Bool { base.isWhole }

    /// Has block `block` of the base image fetched soon, if it is still to come.
    /// - Parameter unlessReplaced: whether it is meant only as long as the VM has put nothing in its place.
    /// - Returns: whether it is here, or isn't meant.
    package func wantBase(_ block: UInt64, unlessReplaced: Bool) -> Bool {
        guard block < map.blockCount, !unlessReplaced || map[block].state == .absent else { return true }
        let start = block * UInt64(DiskBlock.size)
        return base.want(start..<start + UInt64(DiskBlock.size))
    }

    /// Waits for what the range shows of a base image on its way.
    /// - Throws: `cancelled` after `abandonReads`.
    func awaitBase(of range: Range<UInt64>) throws(VMSyncError) {
        if hasWholeBase { return }
        var at = range.lowerBound
        while at < range.upperBound {
            let (state, next) = run(from: at, to: range.upperBound)
            if state == .absent { try base.require(at..<next) }
            at = next
        }
    }

    /// The same for the blocks at the ends of the range that it covers in part: to overwrite a part of one takes the rest of it.
    func awaitEnds(of range: Range<UInt64>) throws(VMSyncError) {
        if hasWholeBase { return }
        let blocks = Self.blocks(touching: range)
        guard let first = blocks.first, let last = blocks.last else { return }
        for block in first == last ? [first] : [first, last] where !isWhole(block, in: range) {
            let start = block * UInt64(DiskBlock.size)
            try awaitBase(of: start..<start + UInt64(blockLength(block)))
        }
    }

    /// Calls `body` with each block that isn't the base's, in the order of the disk.
    package func forEachPresentBlock(_ body: (_ block: UInt64, _ state: BlockState) throws -> Void) rethrows {
        for block in 0..<map.blockCount {
            let state = map[block].state
            if state != .absent { try body(block, state) }
        }
    }

    /// How the range is stored, for BLOCK_STATUS; at most `extentsMax` extents, so perhaps not all of it.
    func extents(at offset: UInt64, length: UInt64) throws(VMSyncError) -> [NBDExtent] {
        let end = try checkedEnd(of: offset, length)
        var extents: [NBDExtent] = []
        var at = offset
        while at < end, extents.count < Self.extentsMax {
            let (state, next) = run(from: at, to: end)
            switch state {
            case .data: extents.join(NBDExtent(length: next - at, kind: .data))
            case .zero: extents.join(NBDExtent(length: next - at, kind: .hole))
            case .absent: base.extents(at: at, length: next - at).forEach { extents.join($0) }
            }
            at = next
        }
        return extents
    }

    /// More than a client takes in one reply.
    private static let extentsMax = 8192

    /// - Throws: `invalidInput` unless there is such a block and the caller has `DiskBlock.size` bytes for it.
    func check(_ block: UInt64, _ bytes: Int) throws(VMSyncError) {
        guard block < map.blockCount, bytes == DiskBlock.size else {
            throw VMSyncError(.invalidInput, "the disk has no block \(block), or \(bytes) bytes aren't one")
        }
    }

    /// The state at `offset`, and where the bytes in that state end, `end` at most.
    private func run(from offset: UInt64, to end: UInt64) -> (BlockState, end: UInt64) {
        let blocks = Self.blocks(touching: offset..<end)
        let state = map[blocks.lowerBound].state
        let next = blocks.dropFirst().first { map[$0].state != state } ?? blocks.upperBound
        return (state, min(end, next * UInt64(DiskBlock.size)))
    }

    private func load(
        _ state: BlockState, at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) {
        switch state {
        case .data: try overlay.read(into: buffer, at: offset)
        case .zero: zeroFill(buffer)
        case .absent: try base.read(into: buffer, at: offset)
        }
    }
}

extension [NBDExtent] {
    /// Adds an extent at the end, to the last one if that is of the same kind.
    fileprivate mutating func join(_ extent: NBDExtent) {
        if let last, last.kind == extent.kind {
            self[count - 1].length += extent.length
        } else {
            append(extent)
        }
    }
}

extension BlockMap {
    /// The blocks that aren't the base's, as runs in the order of the disk.
    func presentRuns() -> [StateRun] {
        var runs: [StateRun] = []
        for block in 0..<blockCount {
            let state = self[block].state
            if state != .absent { runs.append(block, state) }
        }
        return runs
    }
}
