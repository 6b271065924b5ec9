#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import CVMSyncLinux
import VMSyncCheckpoint
import VMSyncCore

/// The RAM of one VM: a file that QEMU maps shared, mapped here as well.
///
/// The file lies on a tmpfs: on a disk the kernel would write the guest's pages back for ever. Writes through *this*
/// mapping are not seen by the dirty tracker, which watches QEMU's: so only a standby's daemon writes here.
///
/// @unchecked Sendable: the mapping lives as long as the object; who may write when is ruled by the one replica that
/// owns the memory, and a running guest writes at any time in any case.
package final class GuestMemory: @unchecked Sendable {
    package let path: String
    /// Bytes; a multiple of `Unit.size`.
    package let size: Int
    private let base: UnsafeMutableRawPointer
    private let descriptor: Int32

    /// Maps the file at `path`, which is made, all zero and without any block, if it isn't there.
    /// - Throws: `noSpace` if the file system can't hold `size` bytes more; `corrupt` if a file of another size is there.
    package init(path: String, size: UInt64) throws(VMSyncError) {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        do throws(VMSyncError) {
            try Self.prepare(descriptor, path: path, size: size)
            let address = mmap(nil, Int(size), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
            guard let address, address != MAP_FAILED else { throw .system("mmap", path: path) }
            base = address
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        self.size = Int(size)
        self.descriptor = descriptor
    }

    deinit {
        munmap(base, size)
        close(descriptor)
    }

    private static func prepare(_ descriptor: Int32, path: String, size: UInt64) throws(VMSyncError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system("fstat", path: path) }
        if status.st_size == 0 {
            try FreeSpace.require(
                size, for: "the VM's memory", at: path,
                hint: "stop another VM, or create this one with less --memory")
            guard ftruncate(descriptor, off_t(size)) == 0 else { throw .system("ftruncate", path: path) }
        } else if UInt64(status.st_size) != size {
            throw VMSyncError(.corrupt, "\(path) has \(status.st_size) bytes, the VM has \(size) bytes of memory")
        }
    }

    package var units: Int { size / Unit.size }

    /// Page `index` as it is now.
    @inline(__always)
    package func page(_ index: Int) -> UnsafeRawBufferPointer {
        precondition(index >= 0 && index < units)
        return UnsafeRawBufferPointer(start: base + index * Unit.size, count: Unit.size)
    }

    /// Pages `range` as one piece.
    @inline(__always)
    package func pages(_ range: Range<Int>) -> UnsafeRawBufferPointer {
        precondition(range.lowerBound >= 0 && range.upperBound <= units)
        return UnsafeRawBufferPointer(start: base + range.lowerBound * Unit.size, count: range.count * Unit.size)
    }

    /// Page `index` to write, for the replica that owns the memory of a paused VM.
    @inline(__always)
    package func writablePage(_ index: Int) -> UnsafeMutableRawBufferPointer {
        precondition(index >= 0 && index < units)
        return UnsafeMutableRawBufferPointer(start: base + index * Unit.size, count: Unit.size)
    }

    /// Makes page `index` zero and gives its memory back to the host.
    package func punch(_ index: Int) {
        if cvmsync_punch_hole(descriptor, Int64(index * Unit.size), Int64(Unit.size)) != 0 {
            memset(base + index * Unit.size, 0, Unit.size)
        }
    }

    /// Makes all memory zero and gives it back to the host.
    package func clear() throws(VMSyncError) {
        guard cvmsync_punch_hole(descriptor, 0, Int64(size)) == 0 else { throw .system("fallocate", path: path) }
    }

    /// The runs of pages that may hold something other than zeros; the rest are holes of the file.
    package func populatedRuns() -> [Range<Int>] {
        var runs: [Range<Int>] = []
        var offset: Int64 = 0
        while offset < size {
            let data = cvmsync_next_data(descriptor, offset)
            guard data >= 0 else { break }
            let hole = cvmsync_next_hole(descriptor, data)
            let end = hole < 0 ? Int64(size) : hole
            runs.append(Int(data) / Unit.size..<(Int(end) + Unit.size - 1) / Unit.size)
            offset = end
        }
        return runs
    }
}
