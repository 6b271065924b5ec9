import NIOCore
import NIOPosix
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Bytes moved between file and network at a time: a change of thread for each costs nothing beside it.
private let transferBytesMax = 1 << 20

/// The bytes of a file, read on the pool for blocking calls.
struct FileBytes: AsyncSequence, Sendable {
    typealias Element = ByteBuffer
    let path: String
    /// Bytes in the file, as they were announced.
    let size: UInt64

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(file: self) }

    struct AsyncIterator: AsyncIteratorProtocol {
        let file: FileBytes
        private var offset: UInt64 = 0

        init(file: FileBytes) { self.file = file }

        /// - Throws: `corrupt` if the file is shorter than announced.
        mutating func next() async throws -> ByteBuffer? {
            guard offset < file.size else { return nil }
            let (path, start) = (file.path, offset)
            let count = Int(Swift.min(file.size - offset, UInt64(transferBytesMax)))
            let part = try await NIOThreadPool.singleton.runIfActive { try readPart(path, at: start, count: count) }
            offset += UInt64(part.readableBytes)
            return part
        }
    }
}

private func readPart(_ path: String, at offset: UInt64, count: Int) throws -> ByteBuffer {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw VMSyncError.system("open", path: path) }
    defer { close(descriptor) }
    var buffer = ByteBuffer()
    let got = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: count) { target in
        let got = pread(descriptor, target.baseAddress, count, off_t(offset))
        guard got >= 0 else { throw VMSyncError.system("read", path: path) }
        return got
    }
    guard got > 0 else { throw VMSyncError(.corrupt, "\(path) ends after \(offset) bytes") }
    return buffer
}

/// Writes what arrives into a file, on the pool for blocking calls.
enum FileWriter {
    /// Replaces the file `path` by `bytes`.
    static func replace(_ path: String, by bytes: PackBytes) async throws {
        let pool = NIOThreadPool.singleton
        let descriptor = try await pool.runIfActive {
            let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw VMSyncError.system("open", path: path) }
            return descriptor
        }
        defer { close(descriptor) }
        var batch = ByteBuffer()
        for try await part in bytes {
            batch.writeImmutableBuffer(part)
            guard batch.readableBytes >= transferBytesMax else { continue }
            let full = batch
            batch = ByteBuffer()
            try await pool.runIfActive { try writeAll(full, to: descriptor, path: path) }
        }
        let rest = batch
        try await pool.runIfActive { try writeAll(rest, to: descriptor, path: path) }
    }

    private static func writeAll(_ buffer: ByteBuffer, to descriptor: Int32, path: String) throws {
        try buffer.withUnsafeReadableBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count >= 0 else { throw VMSyncError.system("write", path: path) }
                rest = rest.dropFirst(count)
            }
        }
    }
}
