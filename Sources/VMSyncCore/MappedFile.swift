#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Files read in place.
package enum MappedFile {
    /// Maps the file at `path` for the time of `body`. The file must not shrink meanwhile.
    package static func with<Result>(
        _ path: String, _ body: (UnsafeRawBufferPointer) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system("fstat", path: path) }
        let length = Int(status.st_size)
        if length == 0 { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        guard let address = mmap(nil, length, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else {
            throw .system("mmap", path: path)
        }
        defer { munmap(address, length) }
        return try body(UnsafeRawBufferPointer(start: address, count: length))
    }
}
