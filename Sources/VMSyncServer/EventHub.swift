import Synchronization
import VMSyncAPI
import VMSyncCore

/// Who listens to the server's events, and what each has still to hear.
///
/// Publishing never waits: it leaves the newest state of a VM with each listener, whose own task sends it. A listener that
/// reads slowly gets fewer, newer events; what waits for it is bounded by the number of VMs.
final class EventHub: Sendable {
    private let listeners = Mutex<[ObjectIdentifier: Listener]>([:])

    /// Begins to listen for `caller`, until `remove`.
    func add(_ caller: Caller) -> Listener {
        let listener = Listener(caller)
        listeners.withLock { $0[ObjectIdentifier(listener)] = listener }
        return listener
    }

    /// - Returns: whether its device listens here no more.
    func remove(_ listener: Listener) -> Bool {
        listeners.withLock { listeners in
            listeners.removeValue(forKey: ObjectIdentifier(listener))
            return !listeners.values.contains { $0.caller.device == listener.caller.device }
        }
    }

    /// Of all that listen.
    var accounts: Set<ContentHash> { listeners.withLock { Set($0.values.map(\.caller.account)) } }

    /// The VMs of which a listener of `account` has heard.
    func known(to account: ContentHash) -> Set<VMID> {
        let listening = listeners.withLock { $0.values.filter { $0.caller.account == account } }
        return listening.reduce(into: []) { $0.formUnion($1.known) }
    }

    /// Leaves a VM's record with every listener of `account` that has none as new.
    func publish(_ record: VMRecord, to account: ContentHash) throws {
        let current = listeners.withLock { $0.values.filter { $0.caller.account == account } }
        guard !current.isEmpty, let message = try SyncEvent.vm(record).message() else { return }
        for listener in current { listener.offer(message, of: record.id, revision: record.revision) }
    }

    /// A VM is gone for ever; no record of it counts any more.
    func publish(deleted vm: VMID) throws {
        guard let message = try SyncEvent.deleted(vm).message() else { return }
        for listener in listeners.withLock({ Array($0.values) }) where listener.knows(vm) {
            listener.offer(message, of: vm, revision: .max)
        }
    }

    /// The list of an account's devices has changed, or some list. Each listener reads its own when it gets to it, so it is
    /// always the newest.
    func publishDevices(to account: ContentHash?) {
        for listener in listeners.withLock({ Array($0.values) }) {
            if account == nil || listener.caller.account == account { listener.offerDevices() }
        }
    }

    /// The list of servers has changed.
    func publishServers() {
        for listener in listeners.withLock({ Array($0.values) }) { listener.offerServers() }
    }
}
