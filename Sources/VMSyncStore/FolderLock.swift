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
        let opened = try FileSystemCalls.openFile(path, O_RDWR | O_CREAT)
        guard flock(opened, LOCK_EX | LOCK_NB) == 0 else {
            let failure = VMSyncError.system("flock", path: path)
            let isHeld = errno == EWOULDBLOCK
            close(opened)
            throw isHeld
                ? VMSyncError(
                    .wrongState, "another process uses \(folder)", hint: "stop the other, or choose another --data")
                : failure
        }
        // Set last: once all is set, `deinit` closes it, also when this throws.
        descriptor = opened
    }

    deinit { close(descriptor) }
}
