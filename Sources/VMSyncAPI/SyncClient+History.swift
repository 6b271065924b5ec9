import Foundation
import NIOCore
import NIOHTTP1
import VMSyncCore
import VMSyncPolicy

/// A span that a device asks the server to keep.
package struct SpanOffer: Hashable, Sendable {
    package let id: PackID
    /// Bytes, encrypted.
    package let size: UInt64
    package let checksum: ContentHash
    /// What the device has signed of it.
    package let link: Data

    package init(id: PackID, size: UInt64, checksum: ContentHash, link: Data) {
        self.id = id
        self.size = size
        self.checksum = checksum
        self.link = link
    }
}

extension SyncClient {
    /// The states of the VM after `sequence`, and the packs that lead to them.
    package func history(of vm: VMID, after sequence: Sequence = .base) async throws -> HistoryOutline {
        var outline = HistoryOutline()
        while true {
            let after = outline.head?.sequence ?? sequence
            let page = try await ask(.GET, "/vms/\(vm)/history?after=\(after)", as: HistoryOutline.self)
            guard let last = page.head?.sequence, last > after else { return outline }
            outline.append(page)
        }
    }

    /// The spans that end after `sequence`, in order.
    package func spans(of vm: VMID, after sequence: Sequence = .base) async throws -> [SpanRecord] {
        var spans: [SpanRecord] = []
        while true {
            let after = spans.last?.id.last ?? sequence
            let page = try await ask(.GET, "/vms/\(vm)/spans?after=\(after)", as: SpanList.self).spans
            guard let last = page.last?.id.last, last > after else { return spans }
            spans += page
        }
    }

    /// Adds a span to the history; when it returns, it is durable on the server.
    package func add(_ offer: SpanOffer, to vm: VMID, pack: PackSource) async throws -> SpanRecord {
        let body = try await upload(pack, size: offer.size)
        return try await answer(
            of: try await send(
                .PUT, "/vms/\(vm)/packs/\(offer.id.first)/\(offer.id.last)",
                headers: CommitHeaders.fields(of: offer, inChunks: body.isInChunks), body: .paced(body.bytes),
                timeout: Self.transferTimeout))
    }

    /// Removes a pack that is of no use.
    /// - Throws: `wrongState` if no other route leads to the head or a listed checkpoint.
    package func removePack(_ id: PackID, of vm: VMID) async throws {
        try await tell(.DELETE, "/vms/\(vm)/packs/\(id.first)/\(id.last)")
    }

    /// Gives a span that is there another link.
    package func setLink(_ link: Data, of span: PackID, of vm: VMID) async throws {
        try await put(link, at: "/vms/\(vm)/packs/\(span.first)/\(span.last)/link")
    }

    /// - Parameter tag: encrypted; nil takes it off.
    package func setTag(_ tag: Data?, of sequence: Sequence, of vm: VMID) async throws {
        try await put(tag ?? Data(), at: "/vms/\(vm)/checkpoints/\(sequence)/tag")
    }

    /// - Parameter thumbnail: encrypted.
    package func setThumbnail(_ thumbnail: [UInt8], of sequence: Sequence, of vm: VMID) async throws {
        try await put(thumbnail, at: "/vms/\(vm)/checkpoints/\(sequence)/thumbnail")
    }

    /// - Returns: as it was sent.
    /// - Throws: `notFound` if there is none.
    package func thumbnail(of sequence: Sequence, of vm: VMID) async throws -> [UInt8] {
        let response = try await send(.GET, "/vms/\(vm)/checkpoints/\(sequence)/thumbnail")
        return Array(try await collect(response, bytesMax: APILimits.thumbnailBytesMax).readableBytesView)
    }

    /// Takes checkpoints off the list; see `MetadataStore.forget`.
    package func forget(_ sequences: [Sequence], of vm: VMID, isTrial: Bool) async throws -> PruneReport {
        try await ask(
            .POST, "/vms/\(vm)/forget", ForgetRequest(sequences: sequences, isTrial: isTrial), as: PruneReport.self)
    }

    /// Removes what nothing needs.
    package func prune(_ vm: VMID, isTrial: Bool) async throws -> PruneReport {
        try await ask(.POST, "/vms/\(vm)/prune", PruneRequest(isTrial: isTrial), as: PruneReport.self)
    }
}
