import Crypto
import NIOCore
import Synchronization
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// A blob on its way into a folder: written under a temporary name, hashed on the way, checked, then renamed.
///
/// Its calls block, and follow one another on different threads; so the lock is never waited for. The caller ends with
/// `discard`, whatever happened before.
final class Upload: Sendable {
    private struct State {
        var descriptor: Int32?
        var hasher = SHA256()
        var written: UInt64 = 0
    }
    private let path: String
    private let promise: BlobPromise
    private let state = Mutex(State())

    /// - Parameter path: the temporary file; it is created by the first `append`.
    init(path: String, promise: BlobPromise) {
        self.path = path
        self.promise = promise
    }

    /// Hashes and writes.
    /// - Throws: `corrupt` as soon as there are more bytes than promised.
    func append(_ buffers: [ByteBuffer]) throws {
        try state.withLock { state in
            let descriptor = try state.descriptor ?? FileSystemCalls.openFile(path, O_WRONLY | O_CREAT | O_EXCL)
            state.descriptor = descriptor
            for buffer in buffers {
                state.written += UInt64(buffer.readableBytes)
                try checkRoom(state.written)
                try buffer.withUnsafeReadableBytes { bytes in
                    state.hasher.update(bufferPointer: bytes)
                    try FileSystemCalls.writeAll(bytes, to: descriptor, path: path)
                }
            }
        }
    }

    /// Writes the last bytes, checks all of them, and makes them durable under the name `target`.
    /// - Throws: `corrupt` if they aren't what was promised.
    func finish(_ rest: [ByteBuffer], as target: String) throws {
        try append(rest)
        try state.withLock { state in
            guard let descriptor = state.descriptor else { return }
            try check(state)
            try FileSystemCalls.sync(descriptor, path: path)
        }
        let folder = FileSystemCalls.parent(of: target)
        try FileSystemCalls.makeFolder(folder)
        guard rename(path, target) == 0 else { throw VMSyncError.system("rename", path: target) }
        try FileSystemCalls.syncFolder(folder)
    }

    /// Closes the file, and removes it unless it was renamed.
    func discard() {
        state.withLock { state in
            guard let descriptor = state.descriptor else { return }
            close(descriptor)
            unlink(path)
            state.descriptor = nil
        }
    }

    private func checkRoom(_ written: UInt64) throws(VMSyncError) {
        guard written <= promise.size else {
            throw VMSyncError(.corrupt, "more than the \(promise.size) bytes that were announced")
        }
    }

    private func check(_ state: State) throws(VMSyncError) {
        guard state.written == promise.size else {
            throw VMSyncError(
                .corrupt, "\(state.written) bytes came instead of the \(promise.size) that were announced")
        }
        let hash = ContentHash(digest: state.hasher.finalize())
        guard hash == promise.hash else {
            throw VMSyncError(.corrupt, "the bytes have SHA-256 \(hash), announced was \(promise.hash)")
        }
    }
}
