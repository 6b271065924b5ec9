import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

/// The bytes of a pack, as a commit offers them.
enum OfferedPack: Sendable {
    /// Not read before it is known that they are wanted.
    case whole(@Sendable () async throws -> ByteBuffer)
    /// They were sent before.
    case chunks([ContentHash])

    /// - Throws: `invalidInput` if there are more than a pack has.
    static func checkedChunks(_ hashes: [ContentHash]) throws(VMSyncError) -> PackPlace {
        guard hashes.count <= APILimits.packChunksMax else {
            throw VMSyncError(.invalidInput, "a pack has at most \(APILimits.packChunksMax) chunks")
        }
        return .chunks(hashes)
    }
}

extension SyncService {
    /// Makes a checkpoint the head of `vm`.
    ///
    /// 1. the pack becomes durable, 2. one transaction decides and makes it the head, 3. everybody hears of it. A crash
    /// before 2 leaves garbage and the old head; after it the new head, and the device repeats a commit without answer.
    func commit(
        _ offer: CommitOffer, to vm: VMID, by caller: Caller, pack: OfferedPack
    ) async throws -> CheckpointRecord {
        if let record = try await foresee(offer, to: vm, by: caller) { return record }
        switch pack {
        case .chunks(let hashes):
            return try await decide(offer, to: vm, by: caller, place: OfferedPack.checkedChunks(hashes)).get().record
        case .whole(let bytes): return try await commit(offer, to: vm, by: caller, whole: try await bytes())
        }
    }

    private func commit(
        _ offer: CommitOffer, to vm: VMID, by caller: Caller, whole pack: ByteBuffer
    ) async throws -> CheckpointRecord {
        guard UInt64(pack.readableBytes) == offer.size else {
            throw VMSyncError(.corrupt, "the pack has \(pack.readableBytes) bytes, announced were \(offer.size)")
        }
        let blob = BlobID.random()
        try await blobs.put(blob, pack, hash: offer.checksum)
        try Self.faultPoint("after-blob-durable", offer)
        let outcome = try await decide(offer, to: vm, by: caller, place: .blob(blob))
        if case .success(.accepted(let record)) = outcome { return record }
        // Refused or repeated: certainly nothing names this blob. After any other failure it might be named, so then it
        // is left for the garbage collection to judge.
        try await blobs.remove([blob])
        return try outcome.get().record
    }

    /// The refusal or the repetition that the offer would meet, before its bytes are taken.
    private func foresee(
        _ offer: CommitOffer, to vm: VMID, by caller: Caller
    ) async throws -> CheckpointRecord? {
        let stored = try await stored(vm, for: caller)
        let known = try await metadata.checkpoint(of: vm, at: offer.sequence)
        var lease = stored.lease
        // The switch was settled as the lease was read, so any time will do at which it was open; what is decided here is
        // thrown away.
        let time = lease.lastSwitch?.touched ?? stored.created
        let decision = try lease.commit(offer, by: caller.device, known: known, at: time)
        guard case .repeated(let record) = decision else { return nil }
        return record
    }

    private func decide(
        _ offer: CommitOffer, to vm: VMID, by caller: Caller, place: PackPlace
    ) async throws -> Result<CommitDecision, VMSyncError> {
        let content = CommitContent(sequence: offer.sequence, place: place)
        let (outcome, stored) = try await metadata.change(vm, commit: content) { lease, context in
            let before = lease
            let outcome = Result { () throws(VMSyncError) in
                try lease.commit(offer, by: caller.device, known: context.known, at: context.now)
            }
            if case .success(.accepted) = outcome { try StatementCheck.check(offer, by: caller, after: before) }
            try Self.faultPoint("before-metadata", offer)
            return outcome
        }
        try Self.faultPoint("after-metadata", offer)
        try publish(stored)
        return outcome
    }

    /// Where a fault may be planted in every commit, or only in those that end a switch.
    private static func faultPoint(_ step: String, _ offer: CommitOffer) throws(VMSyncError) {
        try Fault.point("server-\(step)")
        if case .move = offer.then { try Fault.point("server-switch-\(step)") }
    }

    func checkpoints(of vm: VMID, for caller: Caller, after sequence: Sequence, limit: Int) async throws
        -> CheckpointList
    {
        _ = try await stored(vm, for: caller)
        let limit = max(0, min(limit, APILimits.checkpointPageMax))
        return CheckpointList(checkpoints: try await metadata.checkpoints(of: vm, after: sequence, limit: limit))
    }

}
