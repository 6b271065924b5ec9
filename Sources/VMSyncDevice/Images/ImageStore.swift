#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Crypto
import Foundation
import NIOCore
import NIOPosix
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncSecrets

/// The base images on this device: raw files that never change, named by their manifest.
package struct ImageStore: Sendable {
    /// Chunks on their way at once: enough to fill a link with latency, few enough to hold in memory.
    static let transfersMax = 4

    let folder: String
    let client: SyncClient
    let account: Account
    let arrivals: ImageArrivals

    package init(folder: String, client: SyncClient, account: Account, bootID: String) {
        self.folder = folder
        self.client = client
        self.account = account
        arrivals = ImageArrivals(bootID: bootID)
    }

    package func path(_ image: ImageReference) -> String { "\(folder)/\(image.manifest).raw" }

    package func has(_ image: ImageReference) -> Bool { access(path(image), R_OK) == 0 }

    // MARK: Into the store, and up

    /// Takes a disk image of any format that QEMU reads.
    /// - Parameter file: absolute path; it isn't changed.
    /// - Returns: the image and every chunk that it needs on the server.
    /// - Throws: `invalidInput` if it is no disk image.
    package func importDisk(_ file: String, progress: @escaping ProgressHandler) async throws
        -> (ImageReference, [ContentHash])
    {
        let size = try await DiskImage.inspect(file)
        try checkSpace(for: size.allocated)
        let raw = "\(folder)/import-\(Identifier.random()).raw"
        defer { AtomicFile.remove(raw) }
        progress(StepProgress(step: "reading \((file as NSString).lastPathComponent)"))
        try await QEMUTool.run(
            "qemu-img", ["convert", "-O", "raw", "-S", "4k", file, raw], package: "qemu-utils")
        return try await upload(raw, progress: progress)
    }

    /// Takes a file as it is: a kernel, an initial RAM disk.
    package func importFile(_ file: String, progress: @escaping ProgressHandler) async throws
        -> (ImageReference, [ContentHash])
    {
        let copy = "\(folder)/import-\(Identifier.random()).raw"
        defer { AtomicFile.remove(copy) }
        do {
            try FileManager.default.copyItem(atPath: file, toPath: copy)
        } catch {
            throw VMSyncError(.notFound, "can't read \(file): \(error.localizedDescription)")
        }
        return try await upload(copy, progress: progress)
    }

    func checkSpace(for bytes: UInt64) throws(VMSyncError) {
        try FreeSpace.require(
            bytes, for: "the image", at: folder, hint: "free some space there, or choose another place with --state")
    }

    /// Cuts `file` into chunks, sends those that the server lacks, and keeps the file as the image. Broken off, it goes on
    /// where it was: chunks that arrived are there.
    private func upload(_ file: String, progress: @escaping ProgressHandler) async throws
        -> (ImageReference, [ContentHash])
    {
        let source = try ChunkedFile(path: file)
        progress(StepProgress(step: "looking what is in the image"))
        let key = try account.newestKey(of: .account).imageKey(
            of: try await NIOThreadPool.singleton.runIfActive { try source.contentHash() })
        let meter = ProgressMeter("uploading the base image", total: source.populatedBytes, handler: progress)
        var chunks: [ImageManifest.Chunk] = []
        for batch in source.populatedChunks.split(every: 64) {
            let frames = try await NIOThreadPool.singleton.runIfActive {
                try batch.compactMap { index in
                    try source.frame(index).map { (index, try Self.encrypted($0, key)) }
                }
            }
            let hashes = frames.map { ContentHash(digest: SHA256.hash(data: $0.1)) }
            chunks += zip(frames, hashes).map { ImageManifest.Chunk(index: $0.0, hash: $1) }
            let missing = Set(try await client.missingChunks(hashes))
            try await send(zip(frames.map(\.1), hashes).filter { missing.contains($0.1) }.map(\.0))
            meter.add(batch.count * ImageManifest.chunkLength)
        }
        guard chunks.count <= ImageManifest.chunksMax else {
            throw VMSyncError(
                .invalidInput, "the image has more than 57 GB that aren't zero, which vmsync can't take yet")
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let manifest = try encoder.encode(ImageManifest(size: source.size, chunks: chunks))
        let hash = try await client.putChunk(ByteBuffer(bytes: try Self.encrypted(Array(manifest), key)))
        let image = ImageReference(manifest: hash, size: source.size, key: key)
        try source.synchronize()
        guard rename(file, path(image)) == 0 else { throw VMSyncError.system("rename", path: path(image)) }
        return (image, Array(Set(chunks.map(\.hash) + [hash])))
    }

    private static func encrypted(_ bytes: [UInt8], _ key: SubjectKey) throws(VMSyncError) -> [UInt8] {
        try bytes.withRawBytes { bytes throws(VMSyncError) in try StreamEncryptor.encryptChunk(bytes, with: key) }
    }

    private func send(_ frames: [[UInt8]]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (position, frame) in frames.enumerated() {
                if position >= Self.transfersMax { try await group.next() }
                group.addTask { _ = try await client.putChunk(ByteBuffer(bytes: frame)) }
            }
            try await group.waitForAll()
        }
    }
}

extension Array {
    /// Pieces of at most `count` elements.
    func split(every count: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: self.count, by: count).map { self[$0..<Swift.min($0 + count, self.count)] }
    }
}
