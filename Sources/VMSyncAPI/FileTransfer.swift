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

/// The bytes of a pack on their way to the server.
package enum PackSource: Sendable {
    case bytes(ByteBuffer)
    /// A file that holds the pack and nothing else; read on the pool for blocking calls.
    case file(path: String)

    /// - Throws: `corrupt` if there aren't as many.
    func part(at offset: UInt64, count: Int) async throws -> ByteBuffer {
        switch self {
        case .file(let path):
            return try await NIOThreadPool.singleton.runIfActive { try readPart(path, at: offset, count: count) }
        case .bytes(let bytes):
            guard let part = bytes.getSlice(at: bytes.readerIndex + Int(offset), length: count) else {
                throw VMSyncError(.corrupt, "a pack has fewer bytes than it should")
            }
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
        try FileBytes.read(
            into: UnsafeMutableRawBufferPointer(rebasing: target[..<count]), from: descriptor, at: offset, path: path)
    }
    guard got == count else { throw VMSyncError(.corrupt, "\(path) has fewer bytes than it should") }
    return buffer
}

/// A file that what arrives is written into, on the pool for blocking calls.
package final class FileWriter: Sendable {
    private let descriptor: Int32
    private let path: String

    /// Replaces the file `path`.
    package init(_ path: String) async throws {
        self.path = path
        descriptor = try await NIOThreadPool.singleton.runIfActive {
            let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
            guard descriptor >= 0 else { throw VMSyncError.system("open", path: path) }
            return descriptor
        }
    }

    deinit { close(descriptor) }

    package func append(_ buffer: ByteBuffer) async throws {
        try await NIOThreadPool.singleton.runIfActive { [descriptor, path] in
            try buffer.withUnsafeReadableBytes { try FileBytes.write($0, to: descriptor, path: path) }
        }
    }

    /// Replaces the file `path` by `bytes`.
    static func replace(_ path: String, by bytes: PackBytes) async throws {
        let file = try await FileWriter(path)
        var batch = ByteBuffer()
        for try await part in bytes {
            batch.writeImmutableBuffer(part)
            guard batch.readableBytes >= transferBytesMax else { continue }
            try await file.append(batch)
            batch = ByteBuffer()
        }
        try await file.append(batch)
    }
}
