import Logging
import Synchronization
import VMSyncCore
import VMSyncStore

/// Tells the other servers on the store, and through them the devices, that this one is there.
final class ServerPresence: Sendable {
    /// Three of them fit into the time for which the store believes it.
    private static let interval = SQLMetadataStore.presenceMax / 3

    private let service: SyncService
    private let task = Mutex<Task<Void, Never>?>(nil)

    init(service: SyncService) { self.service = service }

    /// - Parameter url: where devices reach this server.
    func begin(_ url: String) async {
        await tell(url)
        let task = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: Self.interval)
                if !Task.isCancelled { await tell(url) }
            }
        }
        self.task.withLock { $0 = task }
    }

    func end() async {
        task.withLock { $0?.cancel() }
        // A server that can't say so is missed when its time is over.
        try? await service.metadata.serverLeft(service.id)
    }

    private func tell(_ url: String) async {
        do {
            try await service.metadata.serverArrived(service.id, url: url)
        } catch {
            service.logger.warning("the other servers don't know of this one", metadata: ["error": "\(error)"])
        }
    }
}
