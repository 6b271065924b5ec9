import Foundation
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

/// The history of a VM: what was committed, what was merged of it, and what goes. (docs/protocol/history.md)
extension SyncService {
    func history(of vm: VMID, for caller: Caller, after sequence: Sequence) async throws -> HistoryOutline {
        _ = try await stored(vm, for: caller)
        return try await metadata.outline(of: vm, after: sequence, limit: APILimits.outlinePageMax)
    }

    /// All of one end, though that may be more than the limit: who asks for the next ones names the last end.
    func spans(of vm: VMID, for caller: Caller, after sequence: Sequence) async throws -> SpanList {
        _ = try await stored(vm, for: caller)
        var spans = try await metadata.spans(of: vm, after: sequence, limit: APILimits.spanPageMax)
        if spans.count == APILimits.spanPageMax, let last = spans.last?.id.last {
            // An end may have several; the page may have been cut in the middle of them.
            spans.removeAll { $0.id.last == last }
        }
        return SpanList(spans: spans)
    }

    func pack(_ id: PackID, of vm: VMID, for caller: Caller) async throws -> StoredPack {
        _ = try await stored(vm, for: caller)
        guard let found = try await metadata.pack(id, of: vm) else {
            throw VMSyncError(.notFound, "there is no pack \(id) of VM \(vm)")
        }
        return found
    }

    /// Keeps a span: first its bytes, then its name.
    func add(_ offer: SpanOffer, to vm: VMID, by caller: Caller, pack: OfferedPack) async throws -> SpanRecord {
        _ = try await stored(vm, for: caller)
        try await check(offer.link, of: offer, vm, by: caller)
        if let known = try await metadata.spans(of: vm, after: offer.id.last.previous, limit: SpanLadder.spansOfOneEnd)
            .first(where: { $0.id == offer.id })
        {
            return known
        }
        let place: PackPlace
        switch pack {
        case .chunks(let hashes):
            place = try OfferedPack.checkedChunks(hashes)
        case .whole(let bytes):
            let blob = BlobID.random()
            try await blobs.put(blob, try await bytes(), hash: offer.checksum)
            place = .blob(blob)
        }
        // A blob that gets no name, because the span came twice at once, is left for the garbage collection.
        return try await metadata.addSpan(
            NewPack(id: offer.id, size: offer.size, checksum: offer.checksum, link: offer.link, place: place), of: vm)
    }

    func removePack(_ id: PackID, of vm: VMID, by caller: Caller) async throws {
        _ = try await stored(vm, for: caller)
        try await blobs.remove(try await metadata.removePack(id, of: vm))
    }

    func setLink(_ link: Data, of span: PackID, of vm: VMID, by caller: Caller) async throws {
        _ = try await stored(vm, for: caller)
        guard let known = try await metadata.pack(span, of: vm) else {
            throw VMSyncError(.notFound, "there is no pack \(span) of VM \(vm)")
        }
        let offer = SpanOffer(id: span, size: known.size, checksum: known.checksum, link: link)
        try await check(link, of: offer, vm, by: caller)
        try await metadata.setLink(link, of: span, of: vm)
    }

    private func check(_ link: Data, of offer: SpanOffer, _ vm: VMID, by caller: Caller) async throws {
        var ends: [Sequence: CheckpointRecord] = [:]
        for end in [offer.id.first, offer.id.last] where end != .base {
            ends[end] = try await metadata.checkpoint(of: vm, at: end)
        }
        try StatementCheck.check(link, of: offer, vm, by: caller, ends: ends)
    }

    func setTag(_ tag: ByteBuffer, of sequence: Sequence, of vm: VMID, by caller: Caller) async throws {
        _ = try await stored(vm, for: caller)
        try await metadata.setTag(
            tag.readableBytes == 0 ? nil : Array(tag.readableBytesView), of: sequence, of: vm)
    }

    func setThumbnail(
        _ thumbnail: ByteBuffer, of sequence: Sequence, of vm: VMID, by caller: Caller
    ) async throws {
        _ = try await stored(vm, for: caller)
        try await metadata.setThumbnail(Array(thumbnail.readableBytesView), of: sequence, of: vm)
    }

    func thumbnail(of sequence: Sequence, of vm: VMID, for caller: Caller) async throws -> [UInt8] {
        _ = try await stored(vm, for: caller)
        guard let thumbnail = try await metadata.thumbnail(of: sequence, of: vm) else {
            throw VMSyncError(.notFound, "checkpoint \(sequence) has no thumbnail")
        }
        return thumbnail
    }

    func forget(_ request: ForgetRequest, of vm: VMID, by caller: Caller) async throws -> PruneReport {
        _ = try await stored(vm, for: caller)
        return PruneReport(
            try await metadata.forget(request.sequences, of: vm, isTrial: request.isTrial ?? false))
    }

    /// First the metadata, then the bytes: what a crash leaves is garbage, never a pack without bytes.
    func prune(_ vm: VMID, _ request: PruneRequest, by caller: Caller) async throws -> PruneReport {
        _ = try await stored(vm, for: caller)
        let pruned = try await metadata.prune(vm, isTrial: request.isTrial ?? false)
        try await blobs.remove(pruned.blobs)
        return PruneReport(pruned)
    }
}

extension PruneReport {
    fileprivate init(_ pruned: Pruned) {
        self.init(sequences: pruned.checkpoints, packs: pruned.packs, bytes: pruned.bytes)
    }
}
