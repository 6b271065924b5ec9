#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import CVMSyncLinux
import Crypto
import Foundation
import Synchronization
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

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

/// An image on its way: `NAME.part`, and beside it a list of the chunks that it has. Blocking: for a thread pool.
///
/// The list begins with the boot of the host: chunks aren't written out one by one, so after another boot it says nothing.
final class PartialImage: Sendable {
    private let path: String
    private let descriptor: Int32
    private let list: Int32
    private let present: Mutex<Set<Int>>

    init(path: String, size: UInt64) throws(VMSyncError) {
        self.path = path
        descriptor = open(path + ".part", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system("open", path: path) }
        guard ftruncate(descriptor, off_t(size)) == 0 else { throw .system("ftruncate", path: path) }
        let bootID = try OverlayDisk.currentBootID()
        var text = (try? String(contentsOfFile: path + ".chunks", encoding: .utf8)) ?? ""
        if !text.hasPrefix(bootID + "\n") {
            text = bootID + "\n"
            try AtomicFile.write(bytes: Array(text.utf8), to: path + ".chunks")
        }
        // A line that was cut off by a crash has no newline behind it and doesn't count.
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        present = Mutex(Set(lines.compactMap { Int($0) }))
        list = open(path + ".chunks", O_WRONLY | O_APPEND | O_CLOEXEC)
        guard list >= 0 else { throw .system("open", path: path + ".chunks") }
    }

    deinit {
        close(descriptor)
        close(list)
    }

    func has(_ index: Int) -> Bool { present.withLock { $0.contains(index) } }

    /// Puts the chunk whose zstd frame is `frame` in its place.
    /// - Throws: `corrupt` if it doesn't hold `length` bytes.
    func put(_ frame: [UInt8], at index: Int, length: Int) throws(VMSyncError) {
        var raw = [UInt8](repeating: 0, count: length)
        try raw.withMutableRawBytes { output throws(VMSyncError) in
            try frame.withRawBytes { input throws(VMSyncError) in
                try ZstdDecompressor().decompress(input, into: output)
            }
        }
        let offset = off_t(index) * off_t(ImageManifest.chunkLength)
        let count = raw.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, offset) }
        guard count == length else { throw .system("write", path: path) }
        try FileBytes.write(Array("\(index)\n".utf8), to: list, path: path + ".chunks")
        present.withLock { _ = $0.insert(index) }
    }

    /// The image is whole: gives it its name.
    func complete() throws(VMSyncError) {
        guard fsync(descriptor) == 0, rename(path + ".part", path) == 0 else { throw .system("rename", path: path) }
        AtomicFile.remove(path + ".chunks")
    }
}
