import VMSyncCore
import VMSyncPolicy

/// A device as it is stored.
package struct StoredDevice: Hashable, Sendable {
    package let id: DeviceID
    package let name: String
    package let platform: String
    /// JSON text of the device's own making, if it told what it can.
    package let capabilities: String?
    package let joined: Timestamp
    package let lastSeen: Timestamp
}

/// A VM to be created.
package struct NewVM: Sendable {
    package let id: VMID
    package let name: String
    package let definition: [UInt8]
    package let chunks: [ContentHash]

    package init(id: VMID, name: String, definition: [UInt8], chunks: [ContentHash]) {
        self.id = id
        self.name = name
        self.definition = definition
        self.chunks = chunks
    }
}

/// A VM as it is stored, its lease settled at the time of reading.
package struct StoredVM: Hashable, Sendable {
    package let id: VMID
    package let name: String
    package let definition: [UInt8]
    package let created: Timestamp
    /// Rises with every change.
    package let revision: UInt64
    package let lease: LeaseState
}

/// What a decision may look at besides the lease.
package struct DecisionContext: Sendable {
    /// The store's time, in the transaction.
    package let now: Timestamp
    /// The checkpoint that stands at the sequence asked for.
    package let known: CheckpointRecord?
}

/// A commit's pack in the blob store, and the sequence whose present checkpoint the decision wants to see.
package struct CommitBlob: Sendable {
    package let sequence: Sequence
    package let pack: PackID

    package init(sequence: Sequence, pack: PackID) {
        self.sequence = sequence
        self.pack = pack
    }
}

/// A checkpoint and where its bytes are.
package struct StoredCheckpoint: Hashable, Sendable {
    package let record: CheckpointRecord
    package let pack: PackID
}

/// Who there is, which VMs, and what their leases say. All errors are `VMSyncError`.
///
/// Each call is one transaction, durable when it returns. Time is the store's own, so that several servers on one store
/// agree. Every implementation passes the contract in `MetadataStoreContract` of the tests.
package protocol MetadataStore: Sendable {
    /// Keeps an invitation by the hash of its code, for `lifetime`.
    /// - Returns: when it expires.
    func invite(_ code: ContentHash, lifetime: Duration) async throws -> Timestamp

    /// Uses up the invitation and adds the device, or neither.
    /// - Throws: `unauthorized` if the invitation is unknown, used or expired; `alreadyExists` if the name is taken.
    func join(
        _ device: DeviceID, name: String, platform: String, token: ContentHash, invitation: ContentHash
    ) async throws -> StoredDevice

    /// The device whose token has this hash.
    func device(token: ContentHash) async throws -> DeviceID?

    /// All devices, in the order in which they joined.
    func devices() async throws -> [StoredDevice]

    /// - Throws: `notFound`.
    func setCapabilities(_ json: String, of device: DeviceID) async throws

    /// Notes that the device was there just now.
    func seen(_ device: DeviceID) async throws

    /// Adds a VM; the same VM again is given back as it is.
    /// - Throws: `alreadyExists` if id or name is taken by another.
    func create(_ vm: NewVM) async throws -> StoredVM

    func vm(_ id: VMID) async throws -> StoredVM?

    /// All VMs, in the order of their names.
    func vms() async throws -> [StoredVM]

    /// The chunks a VM needs, sorted.
    func chunks(of vm: VMID) async throws -> [ContentHash]

    /// Removes the VM if `check` allows it, with its checkpoints and switches.
    /// - Returns: the keys of its packs, which are garbage now.
    /// - Throws: `notFound`, and what `check` throws.
    func remove(_ vm: VMID, check: @Sendable (LeaseState) throws -> Void) async throws -> [BlobKey]

    /// Loads the lease, lets time pass and `decide` change it, and saves what it left, all in one transaction.
    ///
    /// A new head is saved as a checkpoint whose bytes are `commit.pack`. If `decide` throws, nothing is saved.
    /// - Returns: what `decide` returned, and the VM as it is now.
    /// - Throws: `notFound`, and what `decide` throws.
    func change<Answer: Sendable>(
        _ vm: VMID, commit: CommitBlob?, decide: @Sendable (inout LeaseState, DecisionContext) throws -> Answer
    ) async throws -> (answer: Answer, vm: StoredVM)

    /// Up to `limit` checkpoints after `sequence`, in order.
    func checkpoints(of vm: VMID, after sequence: Sequence, limit: Int) async throws -> [CheckpointRecord]

    func checkpoint(of vm: VMID, at sequence: Sequence) async throws -> StoredCheckpoint?

    /// The keys of all packs that checkpoints name.
    func packs() async throws -> Set<BlobKey>
}
