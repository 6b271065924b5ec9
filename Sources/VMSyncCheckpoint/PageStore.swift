import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Pages that a merge holds, in a file that is mapped: of a desktop they are more than a device wants to have in memory,
/// and what is in a file the kernel may put aside.
///
/// Grows only; the file is as long as all pages that were ever put in. Belongs to one merge, on one thread.
package final class PageStore {
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

    /// - Returns: the number of the page.
    /// - Throws: `noSpace`.
    func append(_ page: UnsafeRawBufferPointer) throws(VMSyncError) -> Int {
        if count == maps.count * Self.pagesOfMap { try grow() }
        defer { count += 1 }
        self.page(count).copyMemory(from: page)
        return count
    }

    /// Lives as long as the store.
    func page(_ number: Int) -> UnsafeMutableRawBufferPointer {
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

/// 4096 bytes of a merge: by themselves, or in a store.
package struct Page: Equatable {
    private enum Place {
        case here([UInt8])
        case store(PageStore, Int)
    }
    private let place: Place

    package init(_ bytes: [UInt8]) { place = .here(bytes) }

    init(_ bytes: UnsafeRawBufferPointer, in store: PageStore?) throws(VMSyncError) {
        place = if let store { .store(store, try store.append(bytes)) } else { .here(Array(bytes)) }
    }

    package func withBytes<Result>(
        _ body: (UnsafeRawBufferPointer) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        switch place {
        case .here(let bytes): try bytes.withRawBytes(body)
        case .store(let store, let number): try body(UnsafeRawBufferPointer(store.page(number)))
        }
    }

    package func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        switch place {
        case .here(let bytes): bytes.withUnsafeBytes(body)
        case .store(let store, let number): body(UnsafeRawBufferPointer(store.page(number)))
        }
    }

    package static func == (left: Page, right: Page) -> Bool {
        left.withBytes { left in right.withBytes { right in left.elementsEqual(right) } }
    }
}
