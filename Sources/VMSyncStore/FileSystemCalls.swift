import NIOCore
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// The few blocking file calls of this module, with errors that say what failed. Never on the cooperative pool.
enum FileSystemCalls {
    /// Files hold guest memory: nobody but their owner reads them.
    private static let fileMode: mode_t = 0o600
    private static let folderMode: mode_t = 0o700

    /// Opens `path`; the caller closes the descriptor.
    static func openFile(_ path: String, _ flags: Int32) throws(VMSyncError) -> Int32 {
        let descriptor = open(path, flags | O_CLOEXEC, fileMode)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        return descriptor
    }

    /// Reads up to `count` bytes at `offset`; fewer only at the end of the file.
    static func readAll(_ descriptor: Int32, at offset: UInt64, count: Int, path: String) throws -> ByteBuffer {
        var buffer = ByteBuffer()
        try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
            try FileBytes.read(
                into: UnsafeMutableRawBufferPointer(rebasing: target[..<count]), from: descriptor, at: offset,
                path: path)
        }
        return buffer
    }

    static func sync(_ descriptor: Int32, path: String) throws(VMSyncError) {
        guard fsync(descriptor) == 0 else { throw .system("fsync", path: path) }
    }

    /// Makes what was renamed into or created in `folder` durable.
    static func syncFolder(_ folder: String) throws(VMSyncError) {
        let descriptor = try openFile(folder, O_RDONLY | O_DIRECTORY)
        defer { close(descriptor) }
        try sync(descriptor, path: folder)
    }

    /// Makes `folder` and those above it, durably.
    static func makeFolder(_ folder: String) throws(VMSyncError) {
        if mkdir(folder, folderMode) == 0 { return try syncFolder(parent(of: folder)) }
        switch errno {
        case EEXIST: return
        case ENOENT where folder != parent(of: folder):
            try makeFolder(parent(of: folder))
            try makeFolder(folder)
        default: throw .system("mkdir", path: folder)
        }
    }

    /// The names in `folder`, none if it does not exist.
    static func names(in folder: String) throws(VMSyncError) -> [String] {
        guard let stream = opendir(folder) else {
            if errno == ENOENT { return [] }
            throw .system("opendir", path: folder)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { field in
                field.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Bytes in the file, nil if there is none.
    static func size(of path: String) throws(VMSyncError) -> UInt64? {
        var status = stat()
        if stat(path, &status) == 0 { return UInt64(status.st_size) }
        if errno == ENOENT { return nil }
        throw .system("stat", path: path)
    }

    /// Removes a file; one that isn't there is no error.
    static func remove(_ path: String) throws(VMSyncError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw .system("unlink", path: path) }
    }

    static func parent(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}
