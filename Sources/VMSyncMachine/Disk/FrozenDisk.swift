package import VMSyncCore

/// A block of a `FrozenDisk`, in the state that it had at the freeze: `data` or `zero`.
package struct FrozenBlock: Sendable, Hashable {
    package let index: UInt64
    package let state: BlockState
}

/// Which blocks a freeze is about.
package enum FreezeScope: Sendable {
    /// Those that were changed since the last seal: what a checkpoint sends.
    case dirty
    /// All that differ from the base: what a keyframe holds. Costs a scan of the map.
    case present
}

/// A disk as it was at one moment, while the VM goes on writing to it.
///
/// Its owner calls `release` when the blocks have been read; dropping the last reference does the same. What is kept for
/// it meanwhile takes as much space as the VM overwrites, at most the size of `blocks`.
package final class FrozenDisk: Sendable {
    /// In order of modification: the block whose last change is oldest first.
    package let blocks: [FrozenBlock]
    /// The number of the last change before the freeze; `seal` takes it when `blocks` are safe elsewhere.
    package let upTo: UInt64
    private let disk: OverlayDisk
    private let windowID: UInt64

    init(disk: OverlayDisk, blocks: [FrozenBlock], window: OverlayState.Window) {
        self.disk = disk
        self.blocks = blocks
        upTo = window.upTo
        windowID = window.id
    }

    deinit { release() }

    /// A block of `blocks` as `DiskBlock.size` bytes as of the freeze; those beyond the end of the disk are zero.
    /// May run on several threads, and while the disk is written.
    /// - Throws: `wrongState` after `release`; `noSpace` or `io` if a block could not be kept. The VM's write went
    ///   through then, and the freeze is lost: release it and take another.
    package func read(_ block: FrozenBlock, into buffer: UnsafeMutableRawBufferPointer) throws(VMSyncError) {
        try disk.readFrozen(block, window: windowID, into: buffer)
    }

    /// Ends the point in time, and gives the space back that it took. Further calls do nothing.
    package func release() { disk.endFreeze(window: windowID) }
}
