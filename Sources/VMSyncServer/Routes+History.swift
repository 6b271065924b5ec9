import Foundation
import Hummingbird
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP
import VMSyncPolicy

extension Routes {
    func addHistory(_ group: RouterGroup<SyncContext>) {
        group.get("history") { request, context in
            let after = Sequence(rawValue: try number("after", of: request) ?? 0)
            return try json(try await service.history(of: context.named("vm"), for: context.caller(), after: after))
        }
        group.get("spans") { request, context in
            let after = Sequence(rawValue: try number("after", of: request) ?? 0)
            return try json(try await service.spans(of: context.named("vm"), for: context.caller(), after: after))
        }
        addPacks(group.group("packs/:first/:last"))
        group.put("checkpoints/:sequence/tag") { request, context in
            let tag = try await request.body.collect(upTo: APILimits.tagBytesMax)
            try await service.setTag(
                tag, of: try sequence("sequence", context), of: context.named("vm"), by: context.caller())
            return noContent
        }
        group.put("checkpoints/:sequence/thumbnail") { request, context in
            let thumbnail = try await request.body.collect(upTo: APILimits.thumbnailBytesMax)
            try await service.setThumbnail(
                thumbnail, of: try sequence("sequence", context), of: context.named("vm"), by: context.caller())
            return noContent
        }
        group.get("checkpoints/:sequence/thumbnail") { _, context in
            let thumbnail = try await service.thumbnail(
                of: try sequence("sequence", context), of: context.named("vm"), for: context.caller())
            return Response(status: .ok, body: ResponseBody(byteBuffer: ByteBuffer(bytes: thumbnail)))
        }
        group.post("forget") { request, context in
            try json(try await service.forget(request.message(), of: context.named("vm"), by: context.caller()))
        }
        group.post("prune") { request, context in
            try json(try await service.prune(context.named("vm"), request.message(), by: context.caller()))
        }
    }

    private func addPacks(_ group: RouterGroup<SyncContext>) {
        group.get { request, context in
            let pack = try await service.pack(packID(context), of: context.named("vm"), for: context.caller())
            return try response(pack, range: request.headers[.range])
        }
        group.put { request, context in
            let (size, pack) = try await offeredPack(request)
            let offer = try CommitHeaders.span(packID(context), size: size) { header($0, of: request) }
            return try json(try await service.add(offer, to: context.named("vm"), by: context.caller(), pack: pack))
        }
        group.delete { _, context in
            try await service.removePack(packID(context), of: context.named("vm"), by: context.caller())
            return noContent
        }
        group.put("link") { request, context in
            let link = Data(buffer: try await request.body.collect(upTo: APILimits.statementBytesMax))
            try await service.setLink(link, of: packID(context), of: context.named("vm"), by: context.caller())
            return noContent
        }
    }

    private func packID(_ context: SyncContext) throws -> PackID {
        PackID(try sequence("first", context), try sequence("last", context))
    }

    private func sequence(_ name: String, _ context: SyncContext) throws -> Sequence {
        guard let number = UInt64(try context.parameters.require(name)) else {
            throw VMSyncError(.notFound, "a checkpoint has a number")
        }
        return Sequence(rawValue: number)
    }
}
