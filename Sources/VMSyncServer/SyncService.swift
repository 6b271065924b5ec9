import Foundation
import Logging
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

/// What the sync server does, without HTTP: checks, decides in `LeaseState`, stores, and tells who listens.
///
/// The order of its steps is that of "Guarantees" in docs/protocol/sync-api.md. All errors are `VMSyncError`.
final class SyncService: Sendable {
    let metadata: any MetadataStore
    let blobs: any BlobStore
    let events: EventHub
    let logger: Logger
    /// Tells this server from others on the same store.
    let id = ServerID.random()

    init(metadata: any MetadataStore, blobs: any BlobStore, events: EventHub, logger: Logger) {
        self.metadata = metadata
        self.blobs = blobs
        self.events = events
        self.logger = logger
    }

    /// Lets a decision change the lease of `vm`, and tells everybody if it did.
    func change<Answer: Sendable>(
        _ vm: VMID, decide: @escaping @Sendable (inout LeaseState, DecisionContext) throws -> Answer
    ) async throws -> Answer {
        let (answer, stored) = try await metadata.change(vm, commit: nil, decide: decide)
        // A record that was published before goes no further, so nothing is sent when nothing changed.
        try events.publish(record(of: stored))
        return answer
    }

    func record(of vm: StoredVM) -> VMRecord {
        VMRecord(
            name: vm.name, definition: Data(vm.definition), lease: vm.lease, created: vm.created,
            revision: vm.revision)
    }

    /// The policy knows devices by id; a person knows them by name.
    func worded(_ error: VMSyncError) async -> VMSyncError {
        guard let devices = try? await metadata.devices() else { return error }
        var worded = error
        for device in devices {
            worded.message = worded.message.replacingOccurrences(of: device.id.rawValue, with: device.name)
        }
        return worded
    }
}
