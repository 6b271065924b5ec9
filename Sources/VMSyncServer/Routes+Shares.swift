import Hummingbird
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP
import VMSyncPolicy

extension Routes {
    func addShares(_ group: RouterGroup<SyncContext>) {
        group.post("vms/:vm/shares") { request, context in
            try json(try await service.share(context.named("vm"), request.message(), by: context.caller()))
        }
        group.get("shares") { _, context in try json(try await service.shares(for: context.caller())) }
        group.delete("shares/:share") { _, context in
            try await service.revokeShare(context.named("share"), by: context.caller())
            return noContent
        }
        group.post("shares/:share/open") { request, context in
            try json(try await service.open(context.named("share"), request.message(), by: context.caller()))
        }
    }
}
