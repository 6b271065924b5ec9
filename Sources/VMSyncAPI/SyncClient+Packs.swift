import NIOCore
import NIOHTTP1
import VMSyncCore
import VMSyncPolicy

/// Which pack is to be had, and how to know it.
package struct PackReference: Hashable, Sendable {
    package let id: PackID
    /// Bytes, encrypted.
    package let size: UInt64
    /// SHA-256 of these.
    package let checksum: ContentHash

    package init(_ id: PackID, size: UInt64, checksum: ContentHash) {
        self.id = id
        self.size = size
        self.checksum = checksum
    }
}

extension CheckpointRecord {
    /// The pack that came with it.
    package var pack: PackReference {
        PackReference(PackID(basis, sequence), size: size, checksum: checksum)
    }
}

extension SpanRecord {
    package var pack: PackReference { PackReference(id, size: size, checksum: checksum) }
}

extension SyncClient {
    /// The pack as it arrives. A transfer that breaks off is resumed; a pack that turns out not to be the one promised ends
    /// with `corrupt`, so nothing of it counts before the sequence has ended.
    package func pack(of vm: VMID, _ pack: PackReference) -> PackBytes {
        PackBytes(
            client: self, path: "/vms/\(vm)/packs/\(pack.id.first)/\(pack.id.last)", size: pack.size,
            checksum: pack.checksum)
    }

    /// The whole pack in memory, checked.
    /// - Throws: `noSpace` if it has more than `bytesMax` bytes.
    package func fetch(_ pack: PackReference, of vm: VMID, bytesMax: Int) async throws -> ByteBuffer {
        guard pack.size <= UInt64(max(0, bytesMax)) else {
            throw VMSyncError(
                .noSpace, "pack \(pack.id) has \(pack.size) bytes, there is room for \(bytesMax)")
        }
        var whole = ByteBuffer()
        whole.reserveCapacity(Int(pack.size))
        for try await part in self.pack(of: vm, pack) { whole.writeImmutableBuffer(part) }
        return whole
    }

    /// Writes the pack to the file `path`, replacing it, and checks it. The file is not synced to disk. After an error
    /// it holds a part of the pack.
    package func fetch(_ pack: PackReference, of vm: VMID, to path: String) async throws {
        try await FileWriter.replace(path, by: self.pack(of: vm, pack))
    }

    /// What is sent as the body of a request that brings a pack.
    struct PackBody {
        let bytes: ByteBuffer
        /// Whether the body is a list of chunks, which are there already.
        let isInChunks: Bool
    }

    /// Reads a pack for a request. One that is too long for that goes ahead in chunks; those that have arrived aren't sent
    /// again.
    func upload(_ pack: PackSource, size: UInt64) async throws -> PackBody {
        guard size > UInt64(APILimits.wholePackBytesMax) else {
            return PackBody(bytes: try await pack.part(at: 0, count: Int(size)), isInChunks: false)
        }
        let hashes = try await uploadChunks(pack, size: size)
        return PackBody(bytes: try WireJSON.encode(HashList(hashes: hashes)), isInChunks: true)
    }

    func uploadChunks(_ pack: PackSource, size: UInt64) async throws -> [ContentHash] {
        let parts = stride(from: 0, to: size, by: APILimits.chunkBytesMax).map { start in
            (start: start, count: Int(min(size - start, UInt64(APILimits.chunkBytesMax))))
        }
        var hashes: [ContentHash] = []
        for part in parts { hashes.append(Self.hash(of: try await pack.part(at: part.start, count: part.count))) }
        var missing = Set(try await missingChunks(hashes))
        try await withThrowingTaskGroup(of: Void.self) { group in
            var underWay = 0
            for (part, hash) in zip(parts, hashes) where missing.remove(hash) != nil {
                if underWay == Self.uploadsMax { try await group.next() } else { underWay += 1 }
                group.addTask { _ = try await putChunk(try await pack.part(at: part.start, count: part.count)) }
            }
            try await group.waitForAll()
        }
        return hashes
    }

    /// Chunks on their way at once: enough to fill a link with latency, few enough to hold in memory.
    private static let uploadsMax = 3
}
