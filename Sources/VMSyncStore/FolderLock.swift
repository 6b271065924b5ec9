import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// The right to be the one process that owns a folder; it ends with this object, or with the process.
package final class FolderLock: Sendable {
    private let descriptor: Int32

    /// Makes `folder` if need be, and locks the file `lock` in it. Blocks for file calls, never for another process.
    /// - Throws: `wrongState` if another process holds it.
    package init(folder: String) throws {
        try FileSystemCalls.makeFolder(folder)
        let path = folder + "/lock"
        descriptor = try FileSystemCalls.openFile(path, O_RDWR | O_CREAT)
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let failure = VMSyncError.system("flock", path: path)
            let isHeld = errno == EWOULDBLOCK
            close(descriptor)
            throw isHeld
                ? VMSyncError(
                    .wrongState, "another process uses \(folder)", hint: "stop the other, or choose another --data")
                : failure
        }
    }

    deinit { close(descriptor) }
}
