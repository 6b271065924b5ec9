import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

/// States that are given away for a while. (docs/protocol/links.md)
extension SyncService {
    func share(_ vm: VMID, _ request: ShareRequest, by caller: Caller) async throws -> ShareRecord {
        _ = try await stored(vm, for: caller)
        guard request.description.count <= APILimits.descriptionBytesMax,
            request.tag.utf8.count <= APILimits.shareTagLengthMax, request.chunks.count <= APILimits.packChunksMax,
            request.images.count <= APILimits.vmChunksMax
        else { throw VMSyncError(.invalidInput, "a part of the share is too long") }
        let content = ShareContent(
            description: [UInt8](request.description), size: request.size, checksum: request.checksum,
            chunks: request.chunks, images: request.images)
        return try await metadata.addShare(
            NewShare(
                terms: request.share, tag: request.tag, vm: vm, device: caller.device, content: content,
                openMax: APILimits.sharesMax),
            of: caller.account)
    }

    func shares(for caller: Caller) async throws -> ShareList {
        ShareList(shares: try await metadata.shares(of: caller.account))
    }

    func revokeShare(_ id: ShareID, by caller: Caller) async throws {
        try await blobs.remove(try await metadata.revokeShare(id, of: caller.account))
    }

    func open(_ id: ShareID, _ request: OpenShareRequest, by caller: Caller) async throws -> SharedState {
        guard request.share.id == id else { throw VMSyncError(.invalidInput, "the link names two shares") }
        let content = try await metadata.openShare(request.share, tag: request.tag, by: caller.device)
        return SharedState(
            description: Data(content.description), size: content.size, checksum: content.checksum,
            chunks: content.chunks, images: content.images)
    }
}
