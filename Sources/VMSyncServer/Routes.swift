import Hummingbird
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP
import VMSyncPolicy

/// From HTTP to `SyncService` and back. Each route decodes, checks, calls and encodes, and does nothing else.
struct Routes {
    let service: SyncService
    /// Between two comments on a silent event stream.
    let heartbeat: Duration

    /// All routes of `/api/v1`.
    func router() -> Router<SyncContext> {
        let router = Router(context: SyncContext.self)
        router.add(
            middleware: Problems<SyncContext> { error, context in
                if Problem.status(of: error.code) >= 500 {
                    context.logger.error("a request failed", metadata: ["error": "\(error)"])
                }
                return error
            })
        let open = router.group("api/v1")
        open.get("healthz") { _, _ in try json(Health(time: try await service.metadata.time())) }
        addAccounts(open)
        let known = open.group().add(middleware: MembersOnly(service: service))
        addRoster(known)
        addDevices(known)
        addChunks(known)
        addVMs(known.group("vms"))
        addCheckpoints(known.group("vms/:vm/checkpoints"))
        addSwitches(known.group("vms/:vm/switches"))
        addHistory(known.group("vms/:vm"))
        addShares(known)
        known.get("events") { request, context in
            EventStream(service: service, heartbeat: heartbeat, caller: try context.caller()).response(to: request)
        }
        return router
    }

    private func addDevices(_ group: RouterGroup<SyncContext>) {
        group.get("servers") { _, _ in try json(try await service.servers()) }
        group.get("devices") { _, context in
            try json(DeviceList(devices: try await service.devices(for: context.caller())))
        }
        group.put("devices/self/profile") { request, context in
            let body = try await request.body.collect(upTo: APILimits.profileBytesMax)
            try await service.setProfile(body, of: context.caller())
            return noContent
        }
    }

    private func addChunks(_ group: RouterGroup<SyncContext>) {
        group.post("chunks/missing") { request, _ in try json(try await service.missing(request.message())) }
        group.put("chunks/:chunk") { request, context in
            let size = try request.contentLength(max: UInt64(APILimits.chunkBytesMax))
            let body = request.body
            try await service.putChunk(context.named("chunk")) { try await body.collect(upTo: Int(size)) }
            return noContent
        }
        group.get("chunks/:chunk") { _, context in
            Response(
                status: .ok, headers: [.contentType: "application/octet-stream"],
                body: ResponseBody(byteBuffer: try await service.chunk(context.named("chunk"))))
        }
    }

    private func addVMs(_ group: RouterGroup<SyncContext>) {
        group.post { request, context in
            try json(try await service.create(request.message(), by: context.caller()))
        }
        group.get { _, context in try json(VMList(vms: try await service.vms(for: context.caller()))) }
        group.get(":vm") { _, context in
            try json(service.record(of: try await service.stored(context.named("vm"), for: context.caller())))
        }
        group.get(":vm/chunks") { _, context in
            try json(try await service.chunks(of: context.named("vm"), for: context.caller()))
        }
        group.delete(":vm") { _, context in
            try await service.delete(context.named("vm"), by: context.caller())
            return noContent
        }
        group.put(":vm/policy") { request, context in
            let policy = try await request.body.collect(upTo: APILimits.policyBytesMax)
            try await service.setPolicy(policy, of: context.named("vm"), by: context.caller())
            return noContent
        }
        group.put(":vm/standing") { request, context in
            try await service.setStanding(request.message(), of: context.named("vm"), by: context.caller())
            return noContent
        }
        group.post(":vm/lease") { request, context in
            try json(
                try await service.acquireLease(context.named("vm"), request.message(), by: context.caller()))
        }
        group.post(":vm/lease/handover") { request, context in
            try await service.noteHandover(context.named("vm"), request.message(), by: context.caller())
            return noContent
        }
        group.delete(":vm/lease") { request, context in
            try await service.releaseLease(context.named("vm"), request.message(), by: context.caller())
            return noContent
        }
    }

    private func addSwitches(_ group: RouterGroup<SyncContext>) {
        group.post { request, context in
            let message = try await request.message(SwitchRequest.self)
            return try json(
                try await service.requestSwitch(
                    context.named("vm"), to: message.to, isCold: message.isCold ?? false, by: context.caller()))
        }
        answer(group, "ready") { .ready(at: try await $0.message(ReadyReport.self).sequence) }
        answer(group, "refuse") { .refuse(try await $0.message(ReasonReport.self).reason) }
        answer(group, "fail") { .fail(try await $0.message(ReasonReport.self).reason) }
        answer(group, "done") { _ in .done }
        answer(group, "report") { .report(try await $0.message(StepReport.self).steps) }
    }

    private func answer(
        _ group: RouterGroup<SyncContext>, _ action: String,
        _ read: @escaping @Sendable (Request) async throws -> SwitchAnswer
    ) {
        group.post(RouterPath(":switch/" + action)) { request, context in
            let answer = try await read(request)
            return try json(
                try await service.answer(
                    answer, to: context.named("switch"), of: context.named("vm"), by: context.caller()))
        }
    }
}
