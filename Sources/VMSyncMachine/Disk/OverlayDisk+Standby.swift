import Synchronization
package import VMSyncCore

/// What a standby does to its disk, on which no VM runs.
extension OverlayDisk {
    /// Makes a block what it is elsewhere, without making it dirty.
    /// - Parameter content: `DiskBlock.size` bytes, of which those beyond the end of the disk are left out; nil for zeros.
    /// - Throws: `wrongState` while the disk is frozen; `noSpace`, `io`.
    package func apply(block: UInt64, content: UnsafeRawBufferPointer?) throws(VMSyncError) {
        try check(block, content?.count ?? DiskBlock.size)
        let offset = block * UInt64(DiskBlock.size)
        try exclusively(at: offset) { () throws(VMSyncError) in
            try checkThawed()
            guard let content else {
                state.withLock { $0.stampApplied(block, in: map, as: .zero) }
                return overlay.punchHole(at: offset, length: UInt64(blockLength(block)))
            }
            try overlay.write(UnsafeRawBufferPointer(rebasing: content[..<blockLength(block)]), at: offset)
            state.withLock { $0.stampApplied(block, in: map, as: .data) }
        }
    }

    /// Makes the disk the bare base again, durably. Nothing may read it meanwhile.
    ///
    /// The log goes first: after a power loss no block may be looked for in an overlay that was emptied. A mark in the
    /// map makes `open` finish what a process began here and didn't live to end.
    /// - Throws: `wrongState` while the disk is frozen or when it is closed; `noSpace`, `io`: nothing has changed then.
    package func reset() throws(VMSyncError) {
        let result = stripes.withAll {
            Result { () throws(VMSyncError) in try resetExclusively() }
        }
        try result.get()
    }

    private func resetExclusively() throws(VMSyncError) {
        try checkThawed()
        guard !isClosed.load(ordering: .acquiring) else {
            throw VMSyncError(.wrongState, "the disk in \(folder) is closed")
        }
        map.isResetting = true
        defer { map.isResetting = false }
        // A flush must not come between: it would log what is about to be forgotten.
        let result = durable.withLock { durable in
            Result { () throws(VMSyncError) in
                try durable.log.replace(with: [])
                state.withLock { state in
                    state.forgetBlocks()
                    map.forgetBlocks()
                }
            }
        }
        try result.get()
        overlay.punchHole(at: 0, length: size)
    }

    private func checkThawed() throws(VMSyncError) {
        guard state.withLock({ $0.window == nil }) else {
            throw VMSyncError(.wrongState, "the disk in \(folder) is frozen: a checkpoint of it is being taken")
        }
    }
}

extension BlockMap {
    /// Makes every block absent. Numbers go on, so that an old one never names a new change.
    fileprivate func forgetBlocks() {
        for block in 0..<blockCount where self[block].rawValue != 0 { self[block] = BlockEntry(rawValue: 0) }
    }
}
