import Synchronization
import VMSyncAPI
import VMSyncCore

/// What waits to be sent on one event stream.
final class Listener: Sendable {
    enum Item: Sendable {
        case message(ServerSentEvent)
        /// The list of devices, as it is when it is sent.
        case devices
        /// The list of servers, likewise.
        case servers
        case heartbeat
    }

    private struct Waiting {
        /// The newest event of each VM, and the VMs in the order in which they came to wait.
        var vms: [VMID: ServerSentEvent] = [:]
        var order: [VMID] = []
        /// The newest revision that was sent or waits, by which older records are told apart.
        var revisions: [VMID: UInt64] = [:]
        var devices = false
        var servers = false
        var ready: ServerSentEvent?
        var heartbeat = false
    }

    let caller: Caller
    /// Says that something waits; several say it once. Ends with `close`.
    let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation
    private let waiting = Mutex(Waiting())

    init(_ caller: Caller) {
        self.caller = caller
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
    }

    /// Leaves an event of `vm`, instead of any older one.
    func offer(_ message: ServerSentEvent, of vm: VMID, revision: UInt64) {
        waiting.withLock { waiting in
            guard revision > waiting.revisions[vm] ?? 0 else { return }
            waiting.revisions[vm] = revision
            if waiting.vms.updateValue(message, forKey: vm) == nil { waiting.order.append(vm) }
        }
        signal.yield()
    }

    /// Whether it has heard of `vm`.
    func knows(_ vm: VMID) -> Bool { waiting.withLock { $0.revisions[vm] != nil } }

    var known: Set<VMID> { waiting.withLock { Set($0.revisions.keys) } }

    func offerServers() {
        waiting.withLock { $0.servers = true }
        signal.yield()
    }

    func offerDevices() {
        waiting.withLock { $0.devices = true }
        signal.yield()
    }

    /// The snapshot was offered; `ready` goes after it.
    func offerReady(_ message: ServerSentEvent) {
        waiting.withLock { $0.ready = message }
        signal.yield()
    }

    func beat() {
        waiting.withLock { $0.heartbeat = true }
        signal.yield()
    }

    /// All that waits, in the order to send it.
    func take() -> [Item] {
        waiting.withLock { waiting in
            var items = waiting.order.compactMap { waiting.vms[$0].map(Item.message) }
            if waiting.devices { items.append(.devices) }
            if waiting.servers { items.append(.servers) }
            if let ready = waiting.ready { items.append(.message(ready)) }
            if waiting.heartbeat, items.isEmpty { items.append(.heartbeat) }
            waiting = Waiting(revisions: waiting.revisions)
            return items
        }
    }

    /// Ends the stream.
    func close() { signal.finish() }
}
