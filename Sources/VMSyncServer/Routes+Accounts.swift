import Hummingbird
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP

extension Routes {
    /// What anybody may send: an identity and a proof, or the first entry of a roster.
    private static let strangersBytesMax = 4 * APILimits.entryBytesMax

    /// For those that are no members yet: they are known by their certificates only.
    func addAccounts(_ group: RouterGroup<SyncContext>) {
        group.post("accounts") { request, context in
            try await service.found(request.message(bytesMax: Self.strangersBytesMax), by: context.device())
            return noContent
        }
        group.post("join") { request, context in
            try await service.apply(request.message(bytesMax: Self.strangersBytesMax), by: context.device())
            return noContent
        }
        group.get("join") { _, context in try json(try await service.joinState(of: context.device())) }
        group.get("recovery/:recovery") { _, context in
            try json(try await service.recovery(context.named("recovery")))
        }
        group.post("recovery/:recovery") { request, context in
            try await service.recover(context.named("recovery"), request.message(), by: context.device())
            return noContent
        }
    }

    /// What members do with the list of their devices, and with the keys that they grant each other.
    func addRoster(_ group: RouterGroup<SyncContext>) {
        group.post("invitations") { request, context in
            try json(try await service.invite(request.message(), by: context.caller()))
        }
        group.get("applicants") { _, context in try json(try await service.applicants(for: context.caller())) }
        group.get("applicants/:device") { _, context in
            try json(try await service.applicant(context.named("device")))
        }
        group.get("roster") { request, context in
            let first = try number("from", of: request) ?? 0
            return try json(try await service.roster(from: Int(clamping: first), for: context.caller()))
        }
        group.post("roster") { request, context in
            try await service.append(request.message(), by: context.caller())
            return noContent
        }
        group.get("grants") { _, context in try json(try await service.grants(for: context.caller())) }
        group.post("grants") { request, context in
            try await service.add(request.message(), by: context.caller())
            return noContent
        }
    }
}
