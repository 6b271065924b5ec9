import Logging
import VMSyncCore
import VMSyncStore

/// Tells this server's listeners what other servers on the same store have changed.
struct ChangeFeed: Sendable {
    let service: SyncService

    /// Follows the store until the task is cancelled.
    func run() async {
        for await change in service.metadata.changes() {
            guard !Task.isCancelled else { return }
            do {
                try await take(change)
            } catch {
                // Who listens hears of it with the next change, or when he connects again.
                service.logger.warning("a change of another server was missed", metadata: ["error": "\(error)"])
            }
        }
    }

    private func take(_ change: StoreChange) async throws {
        switch change {
        case .devices: service.events.publishDevices(to: nil)
        case .servers: service.events.publishServers()
        case .vm(let id):
            guard let vm = try await service.metadata.vm(id) else { return try service.events.publish(deleted: id) }
            try service.publish(vm)
        case .everything:
            try await catchUp()
            service.events.publishDevices(to: nil)
            service.events.publishServers()
        }
    }

    /// What may have changed without a word: all that anybody who listens here may see.
    private func catchUp() async throws {
        for account in service.events.accounts {
            let all = try await service.metadata.vms(of: account)
            for vm in all { try service.publish(vm) }
            let there = Set(all.map(\.id))
            for gone in service.events.known(to: account).subtracting(there) {
                try service.events.publish(deleted: gone)
            }
        }
    }
}
