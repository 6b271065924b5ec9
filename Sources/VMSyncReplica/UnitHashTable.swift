#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import CVMSyncLinux
import VMSyncCheckpoint
import VMSyncCore

/// The content hash of every unit of one memory or disk, as the replica's checkpoint has it, and the sum of what they add
/// to the digest.
///
/// It serves three ends: the digest is kept incrementally with it, a dirty page that didn't really change is told from
/// one that did, and without a working tracker it is what memory is compared with. 16 bytes per unit of 4096.
///
/// The table is a mapped file, so it survives a killed daemon; the sum is added up again when it is opened. Owned by one
/// replica and used from its thread only.
package final class UnitHashTable {
    package let count: Int
    package private(set) var sum: Hash128
    private let path: String
    private let descriptor: Int32
    private let entries: UnsafeMutableBufferPointer<UInt128>

    /// Maps the table at `path`; all zero if it isn't there.
    ///
    /// All its storage is set aside at once: a store into a mapped file can't report a full disk.
    package init(path: String, count: Int) throws(VMSyncError) {
        let length = count * MemoryLayout<UInt128>.stride
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        do throws(VMSyncError) {
            guard ftruncate(descriptor, off_t(length)) == 0 else { throw .system("ftruncate", path: path) }
            try Self.reserve(descriptor, length, path)
            guard let address = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0),
                address != MAP_FAILED
            else { throw .system("mmap", path: path) }
            entries = UnsafeMutableBufferPointer(
                start: address.bindMemory(to: UInt128.self, capacity: count), count: count)
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        self.count = count
        self.descriptor = descriptor
        sum = Hash128(
            value: entries.enumerated().reduce(0) { sum, entry in
                entry.element == 0
                    ? sum : sum &+ UnitHash.placed(Hash128(value: entry.element), at: entry.offset).value
            })
    }

    deinit {
        munmap(entries.baseAddress, length)
        close(descriptor)
    }

    private var length: Int { count * MemoryLayout<UInt128>.stride }

    private static func reserve(_ descriptor: Int32, _ length: Int, _ path: String) throws(VMSyncError) {
        guard cvmsync_reserve(descriptor, 0, Int64(length)) == 0 else { throw .system("reserve", path: path) }
    }

    @inline(__always)
    package subscript(index: Int) -> Hash128 { Hash128(value: entries[index]) }

    /// Puts the hash of unit `index` and keeps the sum.
    @inline(__always)
    package func set(_ index: Int, _ hash: Hash128) {
        let old = UnitHash.placed(Hash128(value: entries[index]), at: index)
        sum.value = sum.value &- old.value &+ UnitHash.placed(hash, at: index).value
        entries[index] = hash.value
    }

    /// All units as the base has them.
    package func clear() throws(VMSyncError) {
        guard cvmsync_punch_hole(descriptor, 0, Int64(length)) == 0 else { throw .system("fallocate", path: path) }
        sum = .zero
        try Self.reserve(descriptor, length, path)
    }

    /// Makes the table survive a power loss as it is now.
    package func flush() throws(VMSyncError) {
        guard fdatasync(descriptor) == 0 else { throw .system("fdatasync", path: path) }
    }
}

/// Hashes that a sealed checkpoint puts into a table; written beside its pack, so that a restarted daemon can put them
/// again.
package struct HashChanges {
    package private(set) var indices: [Int] = []
    package private(set) var hashes: [Hash128] = []
    /// The sum that the table has once they are put.
    package private(set) var sum: Hash128

    package init(over table: UnitHashTable) { sum = table.sum }

    /// No change but that the whole table is cleared before.
    package init(clearing table: UnitHashTable) { sum = .zero }

    @inline(__always)
    package mutating func add(_ index: Int, from old: Hash128, to new: Hash128) {
        indices.append(index)
        hashes.append(new)
        sum.value =
            sum.value &- UnitHash.placed(old, at: index).value &+ UnitHash.placed(new, at: index).value
    }
}
