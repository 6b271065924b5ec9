import CVMSyncLinux
import Synchronization
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// An open file, closed with its last reference. Positions are always given, so threads may share it.
final class DiskFile: Sendable {
    let descriptor: Int32
    let path: String

    /// - Parameter flags: of open(2); `O_CLOEXEC` is added, so that no child keeps a lock or a deleted file alive.
    init(_ path: String, _ flags: Int32) throws(VMSyncError) {
        let descriptor = open(path, flags | O_CLOEXEC, S_IRUSR | S_IWUSR)
        guard descriptor >= 0 else { throw DiskFile.failure("open", path) }
        self.descriptor = descriptor
        self.path = path
    }

    deinit { close(descriptor) }

    /// The current length in bytes.
    func length() throws(VMSyncError) -> UInt64 {
        var info = stat()
        try check(fstat(descriptor, &info), "stat")
        return UInt64(max(0, info.st_size))
    }

    /// Fills `buffer` from `offset` on. Bytes beyond the end of the file read as zeros.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VMSyncError) {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = pread(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count == 0 {
                zeroFill(rest)
                return
            }
            if count < 0, errno == EINTR { continue }
            try check(count, "read")
            done += count
        }
    }

    /// The same if the bytes are in the page cache; or else gives false at once, and `buffer` may hold anything.
    func readCached(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let count = cvmsync_read_cached(descriptor, rest.baseAddress, rest.count, Int64(offset) + Int64(done))
            // Also where the file system doesn't know how.
            guard count >= 0 else { return false }
            if count == 0 {
                zeroFill(rest)
                return true
            }
            done += Int(count)
        }
        return true
    }

    /// Writes all of `bytes`. After an error some of them may have been written.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(VMSyncError) {
        var done = 0
        while done < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[done...])
            let count = pwrite(descriptor, rest.baseAddress, rest.count, off_t(offset) + off_t(done))
            if count < 0, errno == EINTR { continue }
            try check(count, "write")
            done += count
        }
    }

    /// Returns when the content, and what is needed to find it, is on permanent storage.
    func sync() throws(VMSyncError) { try check(fdatasync(descriptor), "sync") }

    func truncate(to length: UInt64) throws(VMSyncError) { try check(ftruncate(descriptor, off_t(length)), "truncate") }

    /// Gives storage back where the file system can. The range reads as zeros if it could.
    func punchHole(at offset: UInt64, length: UInt64) {
        _ = cvmsync_punch_hole(descriptor, Int64(offset), Int64(length))
    }

    /// Takes the lock of this file, which ends with its last descriptor or the process. False if another one has it.
    func lockExclusively() throws(VMSyncError) -> Bool {
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return true }
        if errno == EWOULDBLOCK { return false }
        throw DiskFile.failure("lock", path)
    }

    /// Takes the lock of this file; waits for another one that has it.
    func lockWaiting() throws(VMSyncError) {
        while flock(descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else { throw DiskFile.failure("lock", path) }
        }
    }

    func unlock() { flock(descriptor, LOCK_UN) }

    private func check(_ result: some BinaryInteger, _ call: String) throws(VMSyncError) {
        if result < 0 { throw DiskFile.failure(call, path) }
    }

    /// The failure of the call that has just returned -1. A file that may not grow is a full disk to its user.
    static func failure(_ call: String, _ path: String) -> VMSyncError {
        var error = VMSyncError.system(call, path: path, number: errno)
        if errno == EFBIG { error.code = .noSpace }
        return error
    }

    /// Makes names that were created or changed in `folder` permanent.
    static func syncFolder(_ folder: String) throws(VMSyncError) {
        let file = try DiskFile(folder, O_RDONLY | O_DIRECTORY)
        guard fsync(file.descriptor) == 0 else { throw failure("sync", folder) }
    }
}

/// Zeros into all of `buffer`.
func zeroFill(_ buffer: UnsafeMutableRawBufferPointer) {
    if let start = buffer.baseAddress { memset(start, 0, buffer.count) }
}
