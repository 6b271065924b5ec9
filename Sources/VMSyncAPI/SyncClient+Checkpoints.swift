import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import NIOPosix
import VMSyncCore
import VMSyncPolicy

/// The bytes of a pack on their way to the server.
package enum PackSource: Sendable {
    case bytes(ByteBuffer)
    /// A file that holds the pack and nothing else.
    case file(path: String)
}

extension SyncClient {
    /// Makes a checkpoint the head of its VM. When it returns, the checkpoint is durable on the server.
    /// The same commit may be repeated until an answer comes.
    /// - Throws: `fenced`, `outOfOrder`, `corrupt`; for a switch `wrongState` or `notFound`.
    package func commit(_ offer: CommitOffer, to vm: VMID, pack: PackSource) async throws -> CheckpointRecord {
        let body: HTTPClientRequest.Body =
            switch pack {
            case .bytes(let bytes): .bytes(bytes)
            case .file(let path):
                .stream(FileBytes(path: path, size: offer.size), length: .known(Int64(clamping: offer.size)))
            }
        let headers = CommitHeaders.fields(of: offer)
        return try await answer(
            of: try await send(
                .POST, "/vms/\(vm)/checkpoints", headers: headers, body: body, timeout: Self.transferTimeout))
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
