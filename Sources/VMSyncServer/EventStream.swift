import Hummingbird
import NIOCore
import ServiceLifecycle
import VMSyncAPI
import VMSyncCore
import VMSyncStore

/// One device's event stream: a snapshot, then every change, then nothing when either side ends it.
struct EventStream: Sendable {
    let service: SyncService
    let heartbeat: Duration
    let caller: Caller

    func response(to request: Request) -> Response {
        let body = request.body
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-cache"],
            body: ResponseBody { writer in
                let listener = service.events.add(caller)
                var failure: (any Error)?
                do {
                    try await service.arrived(caller)
                    try await run(listener, body, &writer)
                } catch {
                    failure = error
                }
                // A device that connects anew is there before its old connection is known to be dead.
                if service.events.remove(listener) { try await service.left(caller) }
                if let failure { throw failure }
                try await writer.finish(nil)
            })
    }

    /// Sends until the device hangs up, the server stops, or the connection breaks.
    private func run(
        _ listener: Listener, _ body: RequestBody, _ writer: inout any ResponseBodyWriter
    ) async throws {
        try await withGracefulShutdownHandler {
            try await body.consumeWithInboundCloseHandler { _ in
                try await offerSnapshot(to: listener)
                try await sendWithHeartbeat(listener, &writer)
            } onInboundClosed: {
                listener.close()
            }
        } onGracefulShutdown: {
            listener.close()
        }
    }

    private func sendWithHeartbeat(_ listener: Listener, _ writer: inout any ResponseBodyWriter) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while true {
                    try await Task.sleep(for: heartbeat)
                    listener.beat()
                    try await service.arrived(caller)
                }
            }
            try await send(listener, &writer)
            group.cancelAll()
        }
    }

    /// What changes meanwhile is offered too; of two records the listener keeps the newer.
    private func offerSnapshot(to listener: Listener) async throws {
        for vm in try await service.vms(for: caller) {
            guard let message = try SyncEvent.vm(vm).message() else { continue }
            listener.offer(message, of: vm.id, revision: vm.revision)
        }
        listener.offerDevices()
        listener.offerServers()
        if let ready = try SyncEvent.ready.message() { listener.offerReady(ready) }
    }

    private func send(_ listener: Listener, _ writer: inout any ResponseBodyWriter) async throws {
        var id: UInt64 = 0
        for await _ in listener.signals {
            for item in listener.take() {
                guard let message = try await message(of: item) else {
                    try await writer.write(ServerSentEvent.heartbeat)
                    continue
                }
                id += 1
                try await writer.write(message.encoded(id: id))
            }
        }
    }

    private func message(of item: Listener.Item) async throws -> ServerSentEvent? {
        switch item {
        case .message(let message): message
        // A device that was revoked is among them no more, and its stream ends.
        case .devices: try SyncEvent.devices(try await service.devices(for: caller)).message()
        case .servers: try SyncEvent.servers(try await service.servers().urls).message()
        case .heartbeat: nil
        }
    }
}
