#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Room on a file system, as this user may use it.
package enum FreeSpace {
    /// Bytes free on the file system of the file or folder `path`.
    package static func bytes(at path: String) throws(VMSyncError) -> UInt64 {
        var status = statvfs()
        guard statvfs(path, &status) == 0 else { throw .system("statvfs", path: path) }
        return UInt64(status.f_bavail) * UInt64(status.f_frsize)
    }

    /// Refuses what can't fit before anything is written.
    /// - Parameters:
    ///   - what: needs the room: "the image".
    ///   - hint: what to do about it.
    /// - Throws: `noSpace`, with what is needed and what is there.
    package static func require(
        _ bytes: UInt64, for what: String, at path: String, hint: String
    ) throws(VMSyncError) {
        let free = try self.bytes(at: path)
        guard free >= bytes else {
            throw VMSyncError(
                .noSpace, "\(what) needs \(ByteCount(bytes)), \(path) has room for \(ByteCount(free))", hint: hint)
        }
    }
}
