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

    /// Copies pages `range` into `buffer`, which is as large.
    ///
    /// By a read of the file and not through the mapping: as fast for pages that are mapped here, faster for those that
    /// aren't, and a hole stays a hole, where a look through the mapping would fill it with a page of zeros.
    package func read(_ range: Range<Int>, into buffer: UnsafeMutableRawBufferPointer) throws(VMSyncError) {
        precondition(range.lowerBound >= 0 && range.upperBound <= units && buffer.count == range.count * Unit.size)
        var done = 0
        while done < buffer.count {
            let count = pread(
                descriptor, buffer.baseAddress.map { $0 + done }, buffer.count - done,
                off_t(range.lowerBound * Unit.size + done))
            guard count > 0 else {
                if count < 0, errno == EINTR { continue }
                throw .system("pread", path: path)
            }
            done += count
        }
    }

    /// Pages that `forEach` reads at once: 256 KiB stay in the processor's cache.
    private static let windowPages = 64

    /// Hands out pages `range`, each with its index, rising; read like `read` does.
    package func forEach(
        _ range: Range<Int>, _ body: (Int, UnsafeRawBufferPointer) -> Void
    ) throws(VMSyncError) {
        let window = UnsafeMutableRawBufferPointer.allocate(
            byteCount: min(range.count, Self.windowPages) * Unit.size, alignment: Unit.size)
        defer { window.deallocate() }
        var next = range.lowerBound
        while next < range.upperBound {
            let part = next..<min(next + Self.windowPages, range.upperBound)
            try read(part, into: UnsafeMutableRawBufferPointer(rebasing: window[..<(part.count * Unit.size)]))
            for index in part {
                let offset = (index - part.lowerBound) * Unit.size
                body(index, UnsafeRawBufferPointer(rebasing: window[offset..<offset + Unit.size]))
            }
            next = part.upperBound
        }
    }

    /// Splits pages `range` into pieces that are holes of the file and pieces that aren't, in order.
    package func pieces(of range: Range<Int>) -> [(pages: Range<Int>, isHole: Bool)] {
        var pieces: [(pages: Range<Int>, isHole: Bool)] = []
        var next = range.lowerBound
        while next < range.upperBound {
            let found = cvmsync_next_data(descriptor, Int64(next * Unit.size))
            let data = found < 0 ? range.upperBound : min(range.upperBound, Int(found) / Unit.size)
            if data > next { pieces.append((next..<data, true)) }
            guard data < range.upperBound else { break }
            let hole = cvmsync_next_hole(descriptor, Int64(data * Unit.size))
            let end = hole < 0 ? range.upperBound : min(range.upperBound, (Int(hole) + Unit.size - 1) / Unit.size)
            pieces.append((data..<end, false))
            next = end
        }
        return pieces
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
