import Synchronization
import VMSyncAPI
import VMSyncCore

/// Who listens to the server's events, and what each has still to hear.
///
/// Publishing never waits: it leaves the newest state of a VM with each listener, whose own task sends it. A listener that
/// reads slowly gets fewer, newer events; what waits for it is bounded by the number of VMs.
final class EventHub: Sendable {
    private let listeners = Mutex<[ObjectIdentifier: Listener]>([:])

    /// Begins to listen for `device`, until `remove`.
    func add(_ device: DeviceID) -> Listener {
        let listener = Listener(device: device)
        listeners.withLock { $0[ObjectIdentifier(listener)] = listener }
        return listener
    }

    /// - Returns: whether `device` listens here no more.
    func remove(_ listener: Listener) -> Bool {
        listeners.withLock { listeners in
            listeners.removeValue(forKey: ObjectIdentifier(listener))
            return !listeners.values.contains { $0.device == listener.device }
        }
    }

    /// Leaves a VM's record with every listener that has none as new.
    func publish(_ record: VMRecord) throws {
        let current = listeners.withLock { Array($0.values) }
        guard !current.isEmpty, let message = try SyncEvent.vm(record).message() else { return }
        for listener in current { listener.offer(message, of: record.id, revision: record.revision) }
    }

    /// A VM is gone for ever; no record of it counts any more.
    func publish(deleted vm: VMID) throws {
        guard let message = try SyncEvent.deleted(vm).message() else { return }
        for listener in listeners.withLock({ Array($0.values) }) { listener.offer(message, of: vm, revision: .max) }
    }

    /// The list of devices has changed. Each listener reads it when it gets to it, so it is always the newest.
    func publishDevices() {
        for listener in listeners.withLock({ Array($0.values) }) { listener.offerDevices() }
    }
}
