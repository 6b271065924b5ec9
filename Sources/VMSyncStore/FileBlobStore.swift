import NIOCore
import NIOPosix
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// Blobs as files: `blobs/` holds what is durable, `tmp/` beside it what is still coming.
package final class FileBlobStore: BlobStore {
    private let folder: String
    private let temporary: String

    /// Bytes gathered before they are hashed and written: large enough that a pack of 100 MB changes threads a hundred
    /// times, small enough that many uploads at once fit in memory.
    private static let batchBytesMax = 1 << 20

    /// Opens the store in `folder`, and removes what uploads of an earlier process left half done.
    package init(folder: String) async throws {
        let temporary = folder + "/tmp"
        self.folder = folder + "/blobs"
        self.temporary = temporary
        let blobs = self.folder
        try await Self.blocking {
            try FileSystemCalls.makeFolder(blobs)
            try FileSystemCalls.makeFolder(temporary)
            for name in try FileSystemCalls.names(in: temporary) { try FileSystemCalls.remove("\(temporary)/\(name)") }
        }
    }

    package func put<Bytes: AsyncSequence & Sendable>(
        _ key: BlobKey, promise: BlobPromise, bytes: Bytes
    ) async throws where Bytes.Element == ByteBuffer {
        let upload = Upload(path: "\(temporary)/\(Identifier.random())", promise: promise)
        do {
            try await write(bytes, to: upload, as: path(of: key))
        } catch {
            try? await Self.blocking { upload.discard() }
            throw error
        }
    }

    private func write<Bytes: AsyncSequence & Sendable>(
        _ bytes: Bytes, to upload: Upload, as target: String
    ) async throws where Bytes.Element == ByteBuffer {
        var batch = Batch()
        for try await buffer in bytes {
            batch.add(buffer)
            guard batch.count >= Self.batchBytesMax else { continue }
            let full = batch.take()
            try await Self.blocking { try upload.append(full) }
        }
        let rest = batch.take()
        try await Self.blocking {
            try upload.finish(rest, as: target)
            upload.discard()
        }
    }

    package func size(of key: BlobKey) async throws -> UInt64? {
        let path = path(of: key)
        return try await Self.blocking { try FileSystemCalls.size(of: path) }
    }

    package func missing(among keys: [BlobKey]) async throws -> [BlobKey] {
        try await Self.blocking { try keys.filter { try FileSystemCalls.size(of: self.path(of: $0)) == nil } }
    }

    package func read(_ key: BlobKey, at offset: UInt64, count: Int) async throws -> ByteBuffer {
        guard offset <= UInt64(Int64.max), count >= 0 else {
            throw VMSyncError(.invalidInput, "no file has a byte \(offset)")
        }
        let path = path(of: key)
        return try await Self.blocking {
            let descriptor = try FileSystemCalls.openFile(path, O_RDONLY)
            defer { close(descriptor) }
            return try FileSystemCalls.readAll(descriptor, at: offset, count: count, path: path)
        }
    }

    package func remove(_ keys: [BlobKey]) async throws {
        try await Self.blocking { for key in keys { try FileSystemCalls.remove(self.path(of: key)) } }
    }

    package func packs() async throws -> [BlobKey] {
        let root = folder + "/packs"
        return try await Self.blocking {
            try FileSystemCalls.names(in: root).flatMap { vm in
                try FileSystemCalls.names(in: "\(root)/\(vm)").map { BlobKey(path: "packs/\(vm)/\($0)") }
            }
        }
    }

    private func path(of key: BlobKey) -> String { "\(folder)/\(key.path)" }

    /// Runs `work` on the pool, to its end: cancelling the task can't leave a file half removed.
    private static func blocking<Answer: Sendable>(
        _ work: @escaping @Sendable () throws -> Answer
    ) async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            NIOThreadPool.singleton.submit { state in
                guard case .active = state else {
                    return continuation.resume(throwing: VMSyncError(.unavailable, "the process is ending"))
                }
                continuation.resume(with: Result { try work() })
            }
        }
    }
}

/// Buffers that wait to be written together.
private struct Batch {
    private var buffers: [ByteBuffer] = []
    /// Bytes in it.
    private(set) var count = 0

    mutating func add(_ buffer: ByteBuffer) {
        count += buffer.readableBytes
        buffers.append(buffer)
    }

    mutating func take() -> [ByteBuffer] {
        defer { self = Batch() }
        return buffers
    }
}
