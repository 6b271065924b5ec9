import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import VMSyncCore
import VMSyncPolicy

extension SyncClient {
    /// Makes a checkpoint the head of its VM. When it returns, the checkpoint is durable on the server.
    ///
    /// The same commit may be repeated until an answer comes. A long pack goes in chunks, of which those that have arrived
    /// aren't sent again.
    /// - Throws: `fenced`, `outOfOrder`, `corrupt`; for a switch `wrongState` or `notFound`.
    package func commit(_ offer: CommitOffer, to vm: VMID, pack: PackSource) async throws -> CheckpointRecord {
        guard offer.size <= UInt64(APILimits.wholePackBytesMax) else {
            return try await commitInChunks(offer, to: vm, pack)
        }
        let whole = try await pack.part(at: 0, count: Int(offer.size))
        return try await commit(offer, to: vm, body: whole, inChunks: false)
    }

    private func commitInChunks(
        _ offer: CommitOffer, to vm: VMID, _ pack: PackSource
    ) async throws -> CheckpointRecord {
        let parts = stride(from: 0, to: offer.size, by: APILimits.chunkBytesMax).map { start in
            (start: start, count: Int(min(offer.size - start, UInt64(APILimits.chunkBytesMax))))
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
        return try await commit(offer, to: vm, body: try WireJSON.encode(HashList(hashes: hashes)), inChunks: true)
    }

    /// Chunks on their way at once: enough to fill a link with latency, few enough to hold in memory.
    private static let uploadsMax = 3

    private func commit(
        _ offer: CommitOffer, to vm: VMID, body: ByteBuffer, inChunks: Bool
    ) async throws -> CheckpointRecord {
        try await answer(
            of: try await send(
                .POST, "/vms/\(vm)/checkpoints", headers: CommitHeaders.fields(of: offer, inChunks: inChunks),
                body: .bytes(body), timeout: Self.transferTimeout))
    }

    /// Up to `limit` (at most 1,000) checkpoints after `sequence`, in order.
    package func checkpoints(
        of vm: VMID, after sequence: Sequence = .base, limit: Int = APILimits.checkpointPageMax
    ) async throws -> [CheckpointRecord] {
        try await ask(
            .GET, "/vms/\(vm)/checkpoints?after=\(sequence)&limit=\(limit)", as: CheckpointList.self
        ).checkpoints
    }

    /// The pack of `checkpoint` as it arrives. A transfer that breaks off is resumed; a pack that turns out not to be
    /// the one promised ends with `corrupt`, so nothing of it counts before the sequence has ended.
    package func pack(of vm: VMID, _ checkpoint: CheckpointRecord) -> PackBytes {
        PackBytes(
            client: self, path: "/vms/\(vm)/checkpoints/\(checkpoint.sequence)/pack", size: checkpoint.size,
            checksum: checkpoint.checksum)
    }

    /// The whole pack in memory, checked.
    /// - Throws: `noSpace` if it has more than `bytesMax` bytes.
    package func fetchPack(of vm: VMID, _ checkpoint: CheckpointRecord, bytesMax: Int) async throws -> ByteBuffer {
        guard checkpoint.size <= UInt64(max(0, bytesMax)) else {
            throw VMSyncError(
                .noSpace,
                "the pack of checkpoint \(checkpoint.sequence) has \(checkpoint.size) bytes, "
                    + "there is room for \(bytesMax)")
        }
        var whole = ByteBuffer()
        whole.reserveCapacity(Int(checkpoint.size))
        for try await part in pack(of: vm, checkpoint) { whole.writeImmutableBuffer(part) }
        return whole
    }

    /// Writes the pack to the file `path`, replacing it, and checks it. The file is not synced to disk. After an error
    /// it holds a part of the pack.
    package func fetchPack(of vm: VMID, _ checkpoint: CheckpointRecord, to path: String) async throws {
        try await FileWriter.replace(path, by: pack(of: vm, checkpoint))
    }
}
