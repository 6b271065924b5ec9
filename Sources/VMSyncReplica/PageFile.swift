import VMSyncCheckpoint
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// The pages of a merge in a file that is mapped: what is in a file the kernel may put aside.
///
/// Grows only; the file is as long as all pages that were ever put in. Belongs to one merge, on one thread.
package final class PageFile: PageStore {
    private let descriptor: Int32
    /// Maps are made once and stay where they are, so that a page does.
    private var maps: [UnsafeMutableRawPointer] = []
    private var count = 0

    /// Pages of one map: 64 MiB.
    private static let pagesOfMap = 16_384
    private static let mapBytes = pagesOfMap * Unit.size

    /// - Parameter folder: in which the file lies, without a name.
    /// - Throws: `io`, `noSpace`.
    package init(in folder: String) throws(VMSyncError) {
        let path = folder + "/merge-\(Identifier.random())"
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        // Gone with this process, whatever becomes of it.
        unlink(path)
    }

    deinit {
        for map in maps { munmap(map, Self.mapBytes) }
        close(descriptor)
    }

    package func append(_ page: UnsafeRawBufferPointer) throws(VMSyncError) -> Int {
        if count == maps.count * Self.pagesOfMap { try grow() }
        defer { count += 1 }
        place(count).copyMemory(from: page)
        return count
    }

    package func page(_ number: Int) -> UnsafeRawBufferPointer { UnsafeRawBufferPointer(place(number)) }

    private func place(_ number: Int) -> UnsafeMutableRawBufferPointer {
        let start = maps[number / Self.pagesOfMap] + number % Self.pagesOfMap * Unit.size
        return UnsafeMutableRawBufferPointer(start: start, count: Unit.size)
    }

    private func grow() throws(VMSyncError) {
        let offset = maps.count * Self.mapBytes
        // Allocated, not only extended: to write where there is no space would end the process.
        let failure = posix_fallocate(descriptor, off_t(offset), off_t(Self.mapBytes))
        guard failure == 0 else {
            throw VMSyncError(
                failure == ENOSPC ? .noSpace : .io, "no room to merge packs: \(String(cString: strerror(failure)))")
        }
        guard
            let map = mmap(nil, Self.mapBytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, off_t(offset)),
            map != MAP_FAILED
        else { throw .system("mmap", path: "the pages of a merge") }
        maps.append(map)
    }
}
