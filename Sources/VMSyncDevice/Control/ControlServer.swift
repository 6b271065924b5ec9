import Foundation
import Hummingbird
import Logging
import NIOCore
import ServiceLifecycle
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP
import VMSyncSecrets

/// The daemon's control socket: thin routes that decode, call the daemon, and encode.
struct ControlServer {
    let daemon: Daemon
    let socket: String
    let logger: Logger

    /// An order is a few hundred bytes.
    private static let bodyMax = 64 << 10

    func application(onRunning: @escaping @Sendable () async -> Void) -> some ApplicationProtocol {
        // The daemon must own the path: a socket left behind by a killed one isn't in use, the lock file says so.
        AtomicFile.remove(socket)
        var quiet = logger
        quiet.logLevel = .warning
        return Application(
            router: router, configuration: ApplicationConfiguration(address: .unixDomainSocket(path: socket)),
            onServerRunning: { _ in await onRunning() }, logger: quiet)
    }

    private var router: Router<BasicRequestContext> {
        let router = Router()
        let daemon = daemon
        router.add(middleware: Problems { error, _ in await daemon.worded(error) })
        router.get("status") { _, _ in try json(await daemon.status()) }
        router.get("doctor") { _, _ in try json(await daemon.doctor()) }
        router.get("devices") { _, _ in try json(try await daemon.listDevices()) }
        router.post("devices/approve") { request, _ in
            let order = try await request.message(DeviceOrder.self, bytesMax: Self.bodyMax)
            try await daemon.approve(order.device)
            return try json(Done())
        }
        router.post("devices/revoke") { request, _ in
            let order = try await request.message(DeviceOrder.self, bytesMax: Self.bodyMax)
            try await daemon.revoke(order.device)
            return try json(Done())
        }
        router.post("key/export") { _, _ in
            try json(RecoveryKeyText(key: try await daemon.account.renewRecoveryKey().text))
        }
        router.post("key/check") { request, _ in
            let order = try await request.message(RecoveryKeyText.self, bytesMax: Self.bodyMax)
            return try json(KeyCheck(keys: try await daemon.account.check(try RecoveryKey(typed: order.key))))
        }
        router.post("invitations") { _, _ in try json(try await daemon.account.invite()) }
        router.post("vms") { request, _ in
            let order = try await request.message(CreateRequest.self, bytesMax: Self.bodyMax)
            return stream { progress in try await daemon.create(order, progress: progress) }
        }
        router.get("shares") { _, _ in try json(try await daemon.shares()) }
        router.post("shares/revoke") { request, _ in
            let order = try await request.message(RevokeShareOrder.self, bytesMax: Self.bodyMax)
            try await daemon.client.revokeShare(order.id)
            return try json(Done())
        }
        router.post("open") { request, _ in
            let order = try await request.message(OpenOrder.self, bytesMax: Self.bodyMax)
            return stream { progress in Restored(name: try await daemon.open(order, progress: progress)) }
        }
        router.get("policy") { _, _ in try json(await daemon.policy()) }
        router.post("policy") { request, _ in
            let order = try await request.message(PolicyOrder.self, bytesMax: Self.bodyMax)
            return try json(try await daemon.setPolicy(order))
        }
        addVerbs(to: router.group("vms/:name"))
        return router
    }

    private func addVerbs(to group: RouterGroup<BasicRequestContext>) {
        let daemon = daemon
        @Sendable func host(_ context: BasicRequestContext) async throws -> VMHost {
            try await daemon.host(try context.parameters.require("name"))
        }
        group.get("metrics") { _, context in
            let vm = try await host(context)
            return try json(await vm.latestMetrics)
        }
        group.post("verify") { _, context in
            let vm = try await host(context)
            return try json(try await vm.verify())
        }
        group.post("start") { request, context in
            let vm = try await host(context)
            let order = try await request.message(StartRequest.self, bytesMax: Self.bodyMax)
            return stream(following: vm) { _ in try await vm.start(force: order.force, seen: order.epoch) }
        }
        group.get("takeover") { _, context in
            let vm = try await host(context)
            return try json(try await daemon.takeover(of: vm))
        }
        group.post("sync") { _, context in
            let vm = try await host(context)
            return stream(following: vm) { _ in try await vm.syncNow() }
        }
        group.post("suspend") { _, context in
            let vm = try await host(context)
            return stream(following: vm) { _ in try await vm.suspendVM() }
        }
        group.post("stop") { request, context in
            let vm = try await host(context)
            let order = try await request.message(StopRequest.self, bytesMax: Self.bodyMax)
            return stream(following: vm) { _ in try await vm.stop(force: order.force) }
        }
        group.get("policy") { _, context in
            let vm = try await host(context)
            return try json(await daemon.policy(of: vm))
        }
        group.post("policy") { request, context in
            let vm = try await host(context)
            let order = try await request.message(PolicyOrder.self, bytesMax: Self.bodyMax)
            return try json(try await daemon.setPolicy(order, of: vm))
        }
        addHistory(to: group, host)
        group.post("switch") { request, context in
            let vm = try await host(context)
            let order = try await request.message(SwitchOrder.self, bytesMax: Self.bodyMax)
            let target = try await daemon.device(order.to)
            return stream(following: vm) { progress in
                try await daemon.move(vm, to: target, isCold: order.isCold ?? false, progress: progress)
            }
        }
    }

    private func addHistory(
        to group: RouterGroup<BasicRequestContext>,
        _ host: @escaping @Sendable (BasicRequestContext) async throws -> VMHost
    ) {
        let daemon = daemon
        group.get("history") { _, context in
            let vm = try await host(context)
            return try json(try await daemon.history(of: vm))
        }
        group.get("thumbnails/:checkpoint") { _, context in
            let vm = try await host(context)
            let checkpoint = try context.parameters.require("checkpoint")
            return try json(try await daemon.thumbnail(of: vm, checkpoint))
        }
        group.post("tag") { request, context in
            let vm = try await host(context)
            let order = try await request.message(TagOrder.self, bytesMax: Self.bodyMax)
            return try json(try await daemon.tag(order.checkpoint, of: vm, as: order.tag))
        }
        group.post("restore") { request, context in
            let vm = try await host(context)
            let order = try await request.message(RestoreOrder.self, bytesMax: Self.bodyMax)
            return stream(following: vm) { progress in
                if let name = order.newName {
                    return Restored(name: try await daemon.fork(vm, order, as: name, progress: progress))
                }
                try await vm.restore(to: try await daemon.checkpoint(order.checkpoint, of: vm))
                return Restored(name: vm.name)
            }
        }
        group.get("forks") { _, context in
            let vm = try await host(context)
            return try json(await vm.lateWork)
        }
        group.post("forks/keep") { request, context in
            let vm = try await host(context)
            let order = try await request.message(ForkOrder.self, bytesMax: Self.bodyMax)
            return stream(following: vm) { progress in
                Restored(name: try await daemon.keepFork(order, of: vm, progress: progress))
            }
        }
        group.post("forks/drop") { request, context in
            let vm = try await host(context)
            let order = try await request.message(ForkOrder.self, bytesMax: Self.bodyMax)
            try await vm.dropLateWork(order.id)
            return try json(Done())
        }
        group.post("check") { request, context in
            let vm = try await host(context)
            let order = try await request.message(CheckOrder.self, bytesMax: Self.bodyMax)
            return stream(following: vm) { progress in
                try await daemon.check(vm, readsData: order.readsData, progress: progress)
            }
        }
        group.post("repair") { _, context in
            let vm = try await host(context)
            return stream(following: vm) { progress in try await daemon.repair(vm, progress: progress) }
        }
        group.post("share") { request, context in
            let vm = try await host(context)
            let order = try await request.message(ShareOrder.self, bytesMax: Self.bodyMax)
            return stream(following: vm) { progress in try await daemon.share(vm, order, progress: progress) }
        }
        group.post("forget") { request, context in
            let vm = try await host(context)
            let order = try await request.message(ForgetOrder.self, bytesMax: Self.bodyMax)
            return try json(try await daemon.forget(order, of: vm))
        }
        group.post("prune") { request, context in
            let vm = try await host(context)
            let order = try await request.message(PruneRequest.self, bytesMax: Self.bodyMax)
            return try json(try await daemon.client.prune(vm.id, isTrial: order.isTrial ?? false))
        }
    }

    // MARK: Encoding

    /// An answer of lines: progress while `work` goes on, then its result or its error. When the client goes away,
    /// `work` is cancelled.
    private func stream(
        following host: VMHost? = nil,
        _ work: @escaping @Sendable (@escaping ProgressHandler) async throws -> some Encodable & Sendable
    ) -> Response {
        let (lines, output) = AsyncStream.makeStream(of: ControlLine.self, bufferingPolicy: .bufferingNewest(64))
        let task = Task {
            do {
                output.yield(try ControlLine(result: try await work { output.yield(ControlLine(progress: $0)) }))
            } catch {
                output.yield(ControlLine(error: await daemon.worded(VMSyncError(error))))
            }
            output.finish()
        }
        let follower = Task {
            while !Task.isCancelled {
                // A line without content is a heartbeat: writing it shows whether the client is still there.
                output.yield(ControlLine(progress: host?.status.progress))
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
        let body = ResponseBody { writer in
            defer {
                task.cancel()
                follower.cancel()
            }
            for await line in lines {
                var bytes = try WireJSON.encode(line)
                bytes.writeString("\n")
                try await writer.write(bytes)
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: [.contentType: "application/x-ndjson"], body: body)
    }

    private func stream(
        following host: VMHost, _ work: @escaping @Sendable (@escaping ProgressHandler) async throws -> Void
    ) -> Response {
        stream(following: host) { progress in
            try await work(progress)
            return Done()
        }
    }
}
