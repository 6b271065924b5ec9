#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import CVMSyncLinux
import Crypto
import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// A raw image read in chunks. Blocking: for a thread pool.
struct ChunkedFile: Sendable {
    let path: String
    let size: UInt64
    /// Chunks that aren't wholly a hole of the file.
    let populatedChunks: [Int]

    var populatedBytes: UInt64 { UInt64(populatedChunks.count * ImageManifest.chunkLength) }

    init(path: String) throws(VMSyncError) {
        self.path = path
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        let end = lseek(descriptor, 0, SEEK_END)
        guard end > 0 else { throw VMSyncError(.invalidInput, "\(path) is empty") }
        size = UInt64(end)
        var chunks: [Int] = []
        var offset: Int64 = 0
        while offset < Int64(end) {
            let data = cvmsync_next_data(descriptor, offset)
            guard data >= 0 else { break }
            let hole = cvmsync_next_hole(descriptor, data)
            let stop = hole < 0 ? Int64(end) : hole
            let first = Int(data) / ImageManifest.chunkLength
            let last = (Int(stop) - 1) / ImageManifest.chunkLength
            for chunk in first...last where chunk > chunks.last ?? -1 { chunks.append(chunk) }
            offset = stop
        }
        populatedChunks = chunks
    }

    /// Writes the file out, so that it is whole after a power loss too.
    func synchronize() throws(VMSyncError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .system("fsync", path: path) }
    }

    /// Of what isn't a hole, and where it is.
    func contentHash() throws(VMSyncError) -> ContentHash {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        var hasher = SHA256()
        var buffer = [UInt8](repeating: 0, count: ImageManifest.chunkLength)
        for index in [Int(size)] + populatedChunks {
            withUnsafeBytes(of: UInt64(index).littleEndian) { hasher.update(bufferPointer: $0) }
        }
        for index in populatedChunks {
            let count = try buffer.withMutableRawBytes { bytes throws(VMSyncError) in
                try FileBytes.read(
                    into: bytes, from: descriptor, at: UInt64(index * ImageManifest.chunkLength), path: path)
            }
            buffer.withUnsafeBytes { hasher.update(bufferPointer: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        }
        return ContentHash(digest: hasher.finalize())
    }

    /// The zstd frame of chunk `index`; nil if it is all zeros.
    func frame(_ index: Int) throws(VMSyncError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        defer { close(descriptor) }
        let start = UInt64(index) * UInt64(ImageManifest.chunkLength)
        var raw = [UInt8](repeating: 0, count: Int(min(UInt64(ImageManifest.chunkLength), size - start)))
        let count = raw.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, off_t(start)) }
        guard count == raw.count else { throw .system("read", path: path) }
        if raw.allSatisfy({ $0 == 0 }) { return nil }
        var frame: [UInt8] = []
        let compressor = ZstdCompressor(level: 3)
        _ = try raw.withRawBytes { bytes throws(VMSyncError) in try compressor.append(bytes, to: &frame) }
        return frame
    }
}
