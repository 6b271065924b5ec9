import Crypto
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

    /// Opens the store in `folder`, and removes what uploads of an earlier process left half done.
    package init(folder: String) async throws {
        self.folder = folder
        let temporary = folder + "/tmp"
        self.temporary = temporary
        try await Self.blocking {
            try FileSystemCalls.makeFolder(folder + "/blobs")
            try FileSystemCalls.makeFolder(temporary)
            for name in try FileSystemCalls.names(in: temporary) { try FileSystemCalls.remove("\(temporary)/\(name)") }
        }
    }

    package func put(_ id: BlobID, _ bytes: ByteBuffer, hash: ContentHash) async throws {
        let (target, passing) = (path(of: id), "\(temporary)/\(id)-\(Identifier.random())")
        try await Self.blocking {
            try bytes.withUnsafeReadableBytes { bytes throws(VMSyncError) in
                guard ContentHash(digest: SHA256.hash(data: bytes)) == hash else {
                    throw VMSyncError(.corrupt, "\(bytes.count) bytes don't have the checksum that was announced")
                }
                try Self.write(bytes, to: passing, thenTo: target)
            }
        }
    }

    /// Written and synced under a passing name, then renamed, then the folder synced: at any moment the blob is there
    /// whole, or not.
    private static func write(
        _ bytes: UnsafeRawBufferPointer, to passing: String, thenTo target: String
    ) throws(VMSyncError) {
        do throws(VMSyncError) {
            let descriptor = try FileSystemCalls.openFile(passing, O_WRONLY | O_CREAT | O_EXCL)
            defer { close(descriptor) }
            try FileBytes.write(bytes, to: descriptor, path: passing)
            try FileSystemCalls.sync(descriptor, path: passing)
            let folder = FileSystemCalls.parent(of: target)
            try FileSystemCalls.makeFolder(folder)
            guard rename(passing, target) == 0 else { throw VMSyncError.system("rename", path: target) }
            try FileSystemCalls.syncFolder(folder)
        } catch {
            unlink(passing)
            throw error
        }
    }

    package func size(of id: BlobID) async throws -> UInt64? {
        let path = path(of: id)
        return try await Self.blocking { try FileSystemCalls.size(of: path) }
    }

    package func read(_ id: BlobID, at offset: UInt64, count: Int) async throws -> ByteBuffer {
        guard offset <= UInt64(Int64.max), count >= 0 else {
            throw VMSyncError(.invalidInput, "no file has a byte \(offset)")
        }
        let path = path(of: id)
        return try await Self.blocking {
            let descriptor = try FileSystemCalls.openFile(path, O_RDONLY)
            defer { close(descriptor) }
            return try FileSystemCalls.readAll(descriptor, at: offset, count: count, path: path)
        }
    }

    package func remove(_ ids: [BlobID]) async throws {
        try await Self.blocking { for id in ids { try FileSystemCalls.remove(self.path(of: id)) } }
    }

    /// A portion is a folder.
    package func list() -> AsyncThrowingStream<[BlobID], any Error> {
        let root = folder + "/blobs"
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: [BlobID].self)
        let task = Task {
            do {
                for group in try await Self.blocking({ try FileSystemCalls.names(in: root) }) {
                    try Task.checkCancellation()
                    let names = try await Self.blocking { try FileSystemCalls.names(in: "\(root)/\(group)") }
                    continuation.yield(names.compactMap { BlobID(path: "blobs/\(group)/\($0)") })
                }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    private func path(of id: BlobID) -> String { "\(folder)/\(id.path)" }

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
