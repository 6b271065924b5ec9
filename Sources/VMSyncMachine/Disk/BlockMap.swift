import CVMSyncLinux
import Synchronization
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// `map.live`: the state and number of every block, in a file that is mapped into memory.
///
/// The page cache keeps it when the process dies, whenever that is, so within one boot of the host it is the truth. It
/// is never written out on purpose, so after a power loss it is worth nothing: the boot id in it tells.
///
/// `@unchecked Sendable`: the mapping lives as long as the object and is read and written through atomics only.
final class BlockMap: @unchecked Sendable {
    /// Words of the header, 8 bytes each in the byte order of the host; the file never leaves it.
    private enum Word: Int {
        case magic = 0
        case version = 1
        case blockCount = 2
        case size = 3
        case nextNumber = 4
        case sealedNumber = 5
        case flags = 6
        /// The first of eight words.
        case bootID = 8
    }

    /// Bits of the flags word.
    private static let closedCleanly: UInt64 = 1 << 0
    private static let resetting: UInt64 = 1 << 1

    private static let magic: UInt64 = 0x7075_6d61_7076_6d73
    private static let version: UInt64 = 1
    /// A page, so that the header can be written out on its own.
    private static let headerBytes = 4096
    /// Room for a boot id: the kernel's has 36 letters.
    static let bootIDBytesMax = 64
    /// Numbers that no change ever gets: 0 stands for "never changed", 1 for "as applied from elsewhere, clean".
    static let appliedNumber: UInt64 = 1
    static let firstNumber: UInt64 = 2

    let blockCount: UInt64
    private let size: UInt64
    private let file: DiskFile
    private let memory: UnsafeMutableRawPointer
    private let words: UnsafeMutablePointer<Atomic<UInt64>>
    private let entries: UnsafeMutablePointer<Atomic<UInt64>>

    /// Maps the file at `path`; one that is missing or has another length becomes an empty one.
    ///
    /// All its storage is set aside at once (0.2 % of the disk): a store into a mapped file can't report a full disk.
    init(path: String, size: UInt64) throws(VMSyncError) {
        self.size = size
        blockCount = (size + UInt64(DiskBlock.size) - 1) / UInt64(DiskBlock.size)
        let bytes = UInt64(Self.headerBytes) + 8 * blockCount
        file = try DiskFile(path, O_RDWR | O_CREAT)
        if try file.length() != bytes {
            try file.truncate(to: 0)
            try file.truncate(to: bytes)
        }
        guard cvmsync_reserve(file.descriptor, 0, Int64(bytes)) == 0 else { throw DiskFile.failure("reserve", path) }
        let mapped = mmap(nil, Int(bytes), PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor, 0)
        guard let mapped, mapped != MAP_FAILED else { throw DiskFile.failure("map", path) }
        memory = mapped
        words = mapped.bindMemory(to: Atomic<UInt64>.self, capacity: Self.headerBytes / 8)
        entries = (mapped + Self.headerBytes).bindMemory(to: Atomic<UInt64>.self, capacity: Int(blockCount))
    }

    deinit { munmap(memory, Self.headerBytes + 8 * Int(blockCount)) }

    /// The entry of a block. A reader that sees a state sees the content that was written before it.
    subscript(block: UInt64) -> BlockEntry {
        get { BlockEntry(rawValue: entries[Int(block)].load(ordering: .acquiring)) }
        set { entries[Int(block)].store(newValue.rawValue, ordering: .releasing) }
    }

    /// The number that the next change gets.
    var nextNumber: UInt64 {
        get { self[.nextNumber] }
        set { self[.nextNumber] = newValue }
    }

    /// Blocks with this number or a lower one are clean.
    var sealedNumber: UInt64 {
        get { self[.sealedNumber] }
        set { self[.sealedNumber] = newValue }
    }

    /// Set while a reset runs, which `open` then finishes.
    var isResetting: Bool {
        get { self[.flags] & Self.resetting != 0 }
        set { self[.flags] = newValue ? self[.flags] | Self.resetting : self[.flags] & ~Self.resetting }
    }

    private subscript(word: Word) -> UInt64 {
        get { words[word.rawValue].load(ordering: .acquiring) }
        set { words[word.rawValue].store(newValue, ordering: .releasing) }
    }
}

// MARK: - Whether it can be believed

extension BlockMap {
    /// Whether the content is that of this disk, and nothing of it can be missing: it was written in this boot of the
    /// host, or it was written out in full by `close`.
    func isTrustworthy(bootID: String) -> Bool {
        self[.magic] == Self.magic && self[.version] == Self.version && self[.blockCount] == blockCount
            && self[.size] == size && (storedBootID == Self.padded(bootID) || self[.flags] & Self.closedCleanly != 0)
    }

    /// Claims the map for this boot. From here on it has to be believed only within it, so a mark that `close` left is
    /// taken away durably before anything is changed.
    func claim(bootID: String) throws(VMSyncError) {
        for (index, word) in Self.padded(bootID).enumerated() {
            words[Word.bootID.rawValue + index].store(word, ordering: .relaxed)
        }
        guard self[.flags] & Self.closedCleanly != 0 else { return }
        self[.flags] &= ~Self.closedCleanly
        try writeOut(bytes: Self.headerBytes)
    }

    /// Makes every block absent, and the header that of a new map which no boot has claimed.
    func clear() {
        // First the boot id: a process that dies in here leaves a map that nobody believes.
        for word in 0..<(Self.headerBytes / 8) { words[word].store(0, ordering: .sequentiallyConsistent) }
        for block in 0..<Int(blockCount) where entries[block].load(ordering: .relaxed) != 0 {
            entries[block].store(0, ordering: .relaxed)
        }
        self[.version] = Self.version
        self[.blockCount] = blockCount
        self[.size] = size
        self[.nextNumber] = Self.firstNumber
        self[.sealedNumber] = Self.appliedNumber
        self[.magic] = Self.magic
    }

    /// Writes all of it to permanent storage, and marks it so that another boot may believe it.
    func writeOutCleanly() throws(VMSyncError) {
        try writeOut(bytes: Self.headerBytes + 8 * Int(blockCount))
        self[.flags] |= Self.closedCleanly
        try writeOut(bytes: Self.headerBytes)
    }

    private func writeOut(bytes: Int) throws(VMSyncError) {
        guard msync(memory, bytes, MS_SYNC) == 0 else { throw DiskFile.failure("sync", file.path) }
    }

    private var storedBootID: [UInt64] {
        (0..<Self.bootIDBytesMax / 8).map { words[Word.bootID.rawValue + $0].load(ordering: .acquiring) }
    }

    /// The boot id as words, filled up with zeros.
    private static func padded(_ bootID: String) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: bootIDBytesMax / 8)
        for (index, byte) in bootID.utf8.prefix(bootIDBytesMax).enumerated() {
            words[index / 8] |= UInt64(byte) << UInt64(8 * (index % 8))
        }
        return words
    }
}
