#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Files read, or changed, in place.
package enum MappedFile {
    /// Maps the file at `path` for the time of `body`. The file must not shrink meanwhile.
    package static func with<Result>(
        _ path: String, _ body: (UnsafeRawBufferPointer) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        try map(path, O_RDONLY, PROT_READ, MAP_PRIVATE) { bytes throws(VMSyncError) in
            try body(UnsafeRawBufferPointer(bytes))
        }
    }

    /// The same; what `body` writes is in the file.
    package static func withWritable<Result>(
        _ path: String, _ body: (UnsafeMutableRawBufferPointer) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        try map(path, O_RDWR, PROT_READ | PROT_WRITE, MAP_SHARED, body)
    }

    private static func map<Result>(
        _ path: String, _ access: Int32, _ protection: Int32, _ flags: Int32,
        _ body: (UnsafeMutableRawBufferPointer) throws(VMSyncError) -> Result
    ) throws(VMSyncError) -> Result {
        let descriptor = open(path, access | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system("fstat", path: path) }
        let length = Int(status.st_size)
        if length == 0 { return try body(UnsafeMutableRawBufferPointer(start: nil, count: 0)) }
        guard let address = mmap(nil, length, protection, flags, descriptor, 0), address != MAP_FAILED else {
            throw .system("mmap", path: path)
        }
        defer { munmap(address, length) }
        return try body(UnsafeMutableRawBufferPointer(start: address, count: length))
    }
}
