import Synchronization
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A VM's disk: copy-on-write over an immutable base image, in blocks of 4 KiB.
///
/// The folder of a disk:
/// - `overlay.raw`: a sparse file of the disk's size, each block at its own offset;
/// - `map.live`: state and number of every block, mapped into memory (`BlockMap`);
/// - `map.log`: the durable history of block states (`StateLog`);
/// - `before.raw`: blocks that were overwritten while a `FrozenDisk` still needs them;
/// - `lock`: held by the process that has the disk open.
///
/// **What a write acknowledged survives the process.** Content and map are in the page cache when `write` returns. The
/// order within: a block that has its content in the overlay gets its new number first, so that a change which the
/// process didn't live to acknowledge still counts as one. A block that hasn't gets its content first and its state
/// after it, so that no state ever points to content that isn't there.
///
/// **What `flush` acknowledged survives power loss.** It takes the state changes since the last flush, makes the content
/// durable, and only then logs these changes, durably. A logged state therefore always has its content; a block of whose
/// state change the log doesn't know reads as before that change, from the base, however much of its new content
/// reached the overlay. The other order could show holes of the overlay as zeros in place of the base. States are never
/// logged from a later moment than the content, because the changes are taken before the content is made durable.
/// Content that a `zero` block leaves behind in the overlay is never read: a write to a part of such a block, or of an
/// absent one, fills the whole block first.
///
/// What a client reads, or overwrites a part of, may have to wait for a base image on its way; it does so before any lock is
/// taken. All other calls throw `unavailable` there.
///
/// All calls block; make them on threads of your own. They may be made concurrently, save for those of `close`, `reset`
/// and `apply`, which say what they need. One process at a time has a disk open.
package final class OverlayDisk: Sendable {
    /// In bytes: a multiple of 512. The last block may be a partial one.
    package let size: UInt64
    /// Whether the map was lost with a power loss or a reboot and comes from the log. Every block counts as modified.
    package let recoveredFromLog: Bool

    let folder: String
    let base: BaseImage
    let overlay: DiskFile
    let before: DiskFile
    let map: BlockMap
    let state: Mutex<OverlayState>
    let stripes: StripedLock
    /// The log, and why nothing can be promised to be durable any more, if so. Held through a whole flush.
    let durable: Mutex<Durable>
    let isClosed = Atomic(false)
    /// Counts what may have changed content or states, and where that count stood at the last flush that succeeded.
    /// Apart at first: what an earlier process wrote may not be flushed.
    let changes = Atomic<UInt64>(1)
    let flushedChanges = Atomic<UInt64>(0)
    private let lock: DiskFile

    struct Durable {
        var log: StateLog
        /// After a failed sync the kernel may have dropped what it could not write, and the next sync would succeed.
        var failure: VMSyncError?
        /// The log is written anew above this length in bytes.
        var rewriteAbove: UInt64
    }

    /// Makes the files of a new disk, on which every block is the base's.
    /// - Parameters:
    ///   - folder: Made if it isn't there.
    ///   - base: A raw image, which must never change from now on. It may be shorter than the disk.
    ///   - arriving: the same as long as it isn't whole.
    ///   - size: In bytes: a multiple of 512, at most `sizeMax`.
    /// - Throws: `alreadyExists`, `invalidInput`, `notFound` for the base, `noSpace`, `io`.
    package static func create(
        folder: String, base: String, arriving: ArrivingImage? = nil, size: UInt64
    ) throws(VMSyncError) {
        guard size > 0, size % 512 == 0, size <= sizeMax else {
            throw VMSyncError(.invalidInput, "a disk can't have \(size) bytes: give a multiple of 512 up to \(sizeMax)")
        }
        if arriving == nil { _ = try BaseImage(base) }
        if mkdir(folder, S_IRWXU) != 0, errno != EEXIST { throw DiskFile.failure("make the folder", folder) }
        guard access("\(folder)/map.log", F_OK) != 0 else {
            throw VMSyncError(.alreadyExists, "there is a disk in \(folder) already")
        }
        try DiskFile("\(folder)/overlay.raw", O_RDWR | O_CREAT | O_TRUNC).truncate(to: size)
        let map = try BlockMap(path: "\(folder)/map.live", size: size)
        map.clear()
        try map.writeOutCleanly()
        // Last, for it is what makes the folder a disk.
        _ = try StateLog.create(folder: folder, diskSize: size, runs: [])
    }

    /// Unlocks in words: a child that another thread is just starting may hold a copy of the descriptor until it execs.
    deinit { flock(lock.descriptor, LOCK_UN) }

    /// The largest disk, in bytes: 16 TiB, whose map takes 32 GiB.
    package static let sizeMax: UInt64 = 16 << 40

    /// Opens a disk that `create` made, with the same `base`, which may have arrived since, and `size`.
    /// - Parameter bootID: What names this boot of the host, up to 64 bytes: `currentBootID()`.
    /// - Throws: `wrongState` if a process has the disk open; `notFound`, `corrupt`, `invalidInput`, `io`.
    package static func open(
        folder: String, base: String, arriving: ArrivingImage? = nil, size: UInt64, bootID: String
    ) throws(VMSyncError) -> OverlayDisk {
        let image = if let arriving { BaseImage(arriving) } else { try BaseImage(base) }
        return try OverlayDisk(folder: folder, base: image, size: size, bootID: bootID)
    }

    /// The name that the kernel gave this boot of the host.
    package static func currentBootID() throws(VMSyncError) -> String {
        let file = try DiskFile("/proc/sys/kernel/random/boot_id", O_RDONLY)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 36, alignment: 1)
        defer { buffer.deallocate() }
        try file.read(into: buffer, at: 0)
        return String(decoding: buffer, as: UTF8.self)
    }

    private init(folder: String, base: BaseImage, size: UInt64, bootID: String) throws(VMSyncError) {
        self.folder = folder
        self.size = size
        self.base = base
        lock = try DiskFile("\(folder)/lock", O_RDWR | O_CREAT)
        guard try lock.lockExclusively() else {
            throw VMSyncError(.wrongState, "another process has the disk in \(folder) open")
        }
        overlay = try DiskFile("\(folder)/overlay.raw", O_RDWR)
        before = try DiskFile("\(folder)/before.raw", O_RDWR | O_CREAT | O_TRUNC)
        let map = try BlockMap(path: "\(folder)/map.live", size: size)
        let isTrustworthy = map.isTrustworthy(bootID: bootID)
        if !isTrustworthy { map.clear() }
        let log = try StateLog.open(folder: folder, diskSize: size) { run in
            if !isTrustworthy { map.replay(run) }
        }
        var scanned = try OverlayState(scanning: map)
        // A process that died took the list of what it had not logged yet along.
        if isTrustworthy { scanned.rewriteLog() }
        state = Mutex(scanned)
        try map.claim(bootID: bootID)
        self.map = map
        stripes = StripedLock()
        durable = Mutex(Durable(log: log, rewriteAbove: Self.logBytesMax(map, log)))
        recoveredFromLog = !isTrustworthy
        if map.isResetting { try reset() }
    }

    /// The log may take as much as the map, or twice what it takes at its shortest.
    static func logBytesMax(_ map: BlockMap, _ log: StateLog) -> UInt64 {
        max(8 * map.blockCount, 2 * log.bytes, 65536)
    }

    /// Flushes, and writes the map out, so that the disk opens without recovery even after a reboot. Every later call
    /// that would change the disk throws `wrongState`. Without `close` nothing is lost that was promised.
    package func close() throws(VMSyncError) {
        let result = stripes.withAll { Result { () throws(VMSyncError) in try closeExclusively() } }
        try result.get()
    }

    private func closeExclusively() throws(VMSyncError) {
        guard !isClosed.load(ordering: .acquiring) else { return }
        try flush()
        isClosed.store(true, ordering: .releasing)
        try map.writeOutCleanly()
        flock(lock.descriptor, LOCK_UN)
    }

    /// Ends what a client waits for of a base image on its way, with `cancelled`.
    /// - Parameter forGood: lets nothing wait any more.
    package func abandonReads(forGood: Bool) { base.abandonReads(forGood: forGood) }

    /// Whether a client waits for a base image on its way.
    package var isAwaited: Bool { base.isAwaited }

    /// Blocks that differ from what was last sealed.
    package var dirtyCount: Int { Int(state.withLock { $0.dirtyBlocks }) }

    package var statistics: OverlayStatistics {
        let logBytes = durable.withLock { $0.log.bytes }
        return state.withLock { state in
            OverlayStatistics(
                dataBytes: state.dataBlocks * UInt64(DiskBlock.size), zeroBlocks: state.zeroBlocks,
                dirtyBlocks: state.dirtyBlocks, logBytes: logBytes)
        }
    }
}

/// What a disk holds at the moment.
package struct OverlayStatistics: Sendable, Equatable {
    /// Bytes of the blocks that have their content in the overlay.
    package var dataBytes: UInt64
    /// Blocks that are known to be zero.
    package var zeroBlocks: UInt64
    package var dirtyBlocks: UInt64
    /// Length of the durable log.
    package var logBytes: UInt64
}

extension BlockMap {
    /// Enters a run of the log. Whether its blocks have been sent is lost, so each counts as modified now.
    fileprivate func replay(_ run: StateRun) {
        for block in run.first..<(run.first + run.count) {
            self[block] = BlockEntry(run.state, number: run.state == .absent ? 0 : nextNumber)
            nextNumber += 1
        }
    }
}
