import Synchronization
package import VMSyncCore

extension OverlayDisk {
    /// Takes the disk as it is at this moment; writes that are under way are in it whole parts at a time. One at a time.
    /// - Throws: `wrongState` if the last one isn't released.
    package func freeze(_ scope: FreezeScope = .dirty) throws(VMSyncError) -> FrozenDisk {
        let result = stripes.withAll {
            Result { () throws(VMSyncError) in try freezeExclusively(scope) }
        }
        return try result.get()
    }

    /// Makes the changes up to number `upTo` of a `FrozenDisk` clean: they are safe elsewhere.
    package func seal(upTo: UInt64) { state.withLock { $0.seal(upTo: upTo, in: map) } }

    private func freezeExclusively(_ scope: FreezeScope) throws(VMSyncError) -> FrozenDisk {
        let floor = scope == .dirty ? map.sealedNumber : 0
        guard let window = state.withLock({ $0.openWindow(above: floor, in: map) }) else {
            throw VMSyncError(.wrongState, "the disk in \(folder) is frozen already: one checkpoint at a time")
        }
        let blocks =
            switch scope {
            case .dirty: state.withLock { $0.dirty(in: map) }
            case .present: map.presentInOrderOfModification()
            }
        return FrozenDisk(disk: self, blocks: blocks, window: window)
    }

    /// Copies what a frozen disk still needs of the blocks that are about to change. Under the lock of their part.
    ///
    /// A block that changes gets a number beyond the window, so it is copied once, and its number tells a reader where
    /// to look. If the copy fails the freeze is lost rather than the write of the VM.
    func preserve(_ blocks: Range<UInt64>) {
        guard let window = state.withLock({ $0.window }), window.failure == nil else { return }
        do throws(VMSyncError) {
            for run in runsToKeep(blocks, in: window) { try copyBefore(run) }
        } catch {
            state.withLock { $0.failWindow(error.during("keeping a block of the checkpoint")) }
        }
    }

    /// Blocks whose frozen content is in the overlay; a zero block's is known without a copy.
    private func runsToKeep(_ blocks: Range<UInt64>, in window: OverlayState.Window) -> [StateRun] {
        var runs: [StateRun] = []
        for block in blocks {
            let entry = map[block]
            if entry.state == .data, window.contains(entry.number) { runs.append(block, .data) }
        }
        return runs
    }

    private func copyBefore(_ run: StateRun) throws(VMSyncError) {
        let start = run.first * UInt64(DiskBlock.size)
        let end = min((run.first + run.count) * UInt64(DiskBlock.size), size)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(end - start), alignment: DiskBlock.size)
        defer { buffer.deallocate() }
        try overlay.read(into: buffer, at: start)
        try before.write(UnsafeRawBufferPointer(buffer), at: start)
    }

    func readFrozen(
        _ block: FrozenBlock, window: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) {
        try check(block.index, buffer.count)
        let length = blockLength(block.index)
        let content = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
        let result = stripes.with(offset: block.index * UInt64(DiskBlock.size)) {
            Result { () throws(VMSyncError) in try readKept(block, window: window, into: content) }
        }
        try result.get()
        zeroFill(UnsafeMutableRawBufferPointer(rebasing: buffer[length...]))
    }

    /// Under the lock of the block's part, so that no write comes between the look at the number and the read.
    private func readKept(
        _ block: FrozenBlock, window id: UInt64, into buffer: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) {
        guard let window = state.withLock({ $0.window }), window.id == id else {
            throw VMSyncError(.wrongState, "this point in time of the disk in \(folder) was released")
        }
        if let failure = window.failure { throw failure }
        guard block.state == .data else { return zeroFill(buffer) }
        let file = map[block.index].number <= window.upTo ? overlay : before
        try file.read(into: buffer, at: block.index * UInt64(DiskBlock.size))
    }

    func endFreeze(window: UInt64) {
        let isMine = stripes.withAll { state.withLock { $0.closeWindow(window) } }
        guard isMine else { return }
        // Where this fails the copies only take space: a later reader is led to blocks that were copied for it.
        try? before.truncate(to: 0)
        state.withLock { $0.endRelease() }
    }
}

extension BlockMap {
    fileprivate func presentInOrderOfModification() -> [FrozenBlock] {
        var present: [(number: UInt64, block: FrozenBlock)] = []
        for block in 0..<blockCount {
            let entry = self[block]
            guard entry.state != .absent else { continue }
            present.append((entry.number, FrozenBlock(index: block, state: entry.state)))
        }
        return present.sorted { $0.number < $1.number }.map(\.block)
    }
}
