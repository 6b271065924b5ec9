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
        let body = try await upload(pack, size: offer.size)
        return try await answer(
            of: try await send(
                .POST, "/vms/\(vm)/checkpoints", headers: CommitHeaders.fields(of: offer, inChunks: body.isInChunks),
                body: .paced(body.bytes), timeout: Self.transferTimeout))
    }

    /// Up to `limit` (at most 1,000) checkpoints after `sequence`, in order.
    package func checkpoints(
        of vm: VMID, after sequence: Sequence = .base, limit: Int = APILimits.checkpointPageMax
    ) async throws -> [CheckpointRecord] {
        try await ask(
            .GET, "/vms/\(vm)/checkpoints?after=\(sequence)&limit=\(limit)", as: CheckpointList.self
        ).checkpoints
    }
}
