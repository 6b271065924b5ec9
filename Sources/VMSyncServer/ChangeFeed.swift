import Logging
import VMSyncCore
import VMSyncStore

/// Tells this server's listeners what other servers on the same store have changed.
struct ChangeFeed: Sendable {
    let service: SyncService

    /// Follows the store until the task is cancelled.
    func run() async {
        var known: Set<VMID> = []
        for await change in service.metadata.changes() {
            guard !Task.isCancelled else { return }
            do {
                try await take(change, &known)
            } catch {
                // Who listens hears of it with the next change, or when he connects again.
                service.logger.warning("a change of another server was missed", metadata: ["error": "\(error)"])
            }
        }
    }

    private func take(_ change: StoreChange, _ known: inout Set<VMID>) async throws {
        switch change {
        case .devices: service.events.publishDevices()
        case .vm(let id):
            guard let vm = try await service.metadata.vm(id) else {
                known.remove(id)
                return try service.events.publish(deleted: id)
            }
            known.insert(id)
            try service.events.publish(service.record(of: vm))
        case .everything:
            let all = try await service.metadata.vms()
            for vm in all { try service.events.publish(service.record(of: vm)) }
            for gone in known.subtracting(all.map(\.id)) { try service.events.publish(deleted: gone) }
            known = Set(all.map(\.id))
            service.events.publishDevices()
        }
    }
}
