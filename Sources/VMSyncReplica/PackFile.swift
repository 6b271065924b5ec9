import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// The file that a pack is written to.
package final class PackFile {
    private let descriptor: Int32
    private let path: String

    package init(path: String) throws(VMSyncError) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
    }

    deinit { close(descriptor) }

    package func write(_ bytes: UnsafeRawBufferPointer) throws(VMSyncError) {
        try FileBytes.write(bytes, to: descriptor, path: path)
    }

    func sync() throws(VMSyncError) {
        guard fsync(descriptor) == 0 else { throw .system("fsync", path: path) }
    }
}
