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
    let id = ServerRun.random()

    init(metadata: any MetadataStore, blobs: any BlobStore, events: EventHub, logger: Logger) {
        self.metadata = metadata
        self.blobs = blobs
        self.events = events
        self.logger = logger
    }

    /// Lets a decision change the lease of `vm`, and tells everybody if it did.
    func change<Answer: Sendable>(
        _ vm: VMID, by caller: Caller,
        decide: @escaping @Sendable (inout LeaseState, DecisionContext) throws -> Answer
    ) async throws -> Answer {
        _ = try await stored(vm, for: caller)
        let (answer, stored) = try await metadata.change(vm, commit: nil, decide: decide)
        // A record that was published before goes no further, so nothing is sent when nothing changed.
        try publish(stored)
        return answer
    }

    func record(of vm: StoredVM) -> VMRecord {
        VMRecord(
            description: Data(vm.description), lease: vm.lease, policy: vm.policy.map { Data($0) },
            standings: vm.standings.map {
                VMRecord.Standing(device: $0.device, held: $0.held, note: $0.note.map { Data($0) }, told: $0.told)
            }, created: vm.created, revision: vm.revision)
    }

    /// Tells the devices of the VM's account how it is now.
    func publish(_ vm: StoredVM) throws { try events.publish(record(of: vm), to: vm.account) }
}
