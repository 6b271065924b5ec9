import VMSyncCore
import VMSyncPolicy

/// Who there is, which VMs, what their leases say, and where bytes are. All errors are `VMSyncError`.
///
/// Each call is one transaction, durable when it returns, as if no other ran meanwhile. Time is the store's own, so that
/// several servers on one store agree. A call that throws `unavailable` may have happened all the same; all may be
/// repeated. Every implementation passes the contract in `MetadataStoreContract` of the tests.
package protocol MetadataStore: Sendable {
    // MARK: Devices

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

    /// The device is there, at this server. Counts for `SQLMetadataStore.presenceMax`, unless it leaves.
    /// - Returns: whether that is news.
    @discardableResult
    func arrived(_ device: DeviceID, at server: ServerID) async throws -> Bool

    func left(_ device: DeviceID, from server: ServerID) async throws

    /// No server is there but the one that asks, so no device is either.
    func allLeft() async throws

    // MARK: Chunks

    /// Those of `hashes` that aren't known, in the same order.
    func missing(among hashes: [ContentHash]) async throws -> [ContentHash]

    /// Names a blob that is durable.
    /// - Returns: the chunk as it is known, which may lie in another blob that came before.
    func add(_ chunk: StoredChunk) async throws -> StoredChunk

    func chunk(_ hash: ContentHash) async throws -> StoredChunk?

    // MARK: VMs

    /// Adds a VM; the same VM again is given back as it is.
    /// - Throws: `alreadyExists` if id or name is taken by another; `wrongState` if a chunk isn't known.
    func create(_ vm: NewVM) async throws -> StoredVM

    func vm(_ id: VMID) async throws -> StoredVM?

    /// All VMs, in the order of their names.
    func vms() async throws -> [StoredVM]

    /// The chunks a VM needs to begin with, sorted.
    func chunks(of vm: VMID) async throws -> [ContentHash]

    /// Removes the VM if `check` allows it, with its checkpoints and switches.
    /// - Returns: the blobs that held its packs, which are garbage now; its chunks may have become some.
    /// - Throws: `notFound`, and what `check` throws.
    func remove(_ vm: VMID, check: @escaping @Sendable (LeaseState) throws -> Void) async throws -> [BlobID]

    /// Loads the lease, lets time pass and `decide` change it, and saves what it left, all in one transaction.
    ///
    /// A new head is saved as a checkpoint whose bytes are those of `commit`. If `decide` throws, nothing is saved. It may
    /// be called more than once, each time with the lease as it is then.
    /// - Returns: what `decide` returned, and the VM as it is now.
    /// - Throws: `notFound`; `wrongState` if a chunk isn't known; what `decide` throws.
    func change<Answer: Sendable>(
        _ vm: VMID, commit: CommitContent?,
        decide: @escaping @Sendable (inout LeaseState, DecisionContext) throws -> Answer
    ) async throws -> (answer: Answer, vm: StoredVM)

    /// Up to `limit` checkpoints after `sequence`, in order.
    func checkpoints(of vm: VMID, after sequence: Sequence, limit: Int) async throws -> [CheckpointRecord]

    func checkpoint(of vm: VMID, at sequence: Sequence) async throws -> StoredCheckpoint?

    // MARK: Garbage

    /// Drops chunks that nothing needs, and that are older than `age`: longer than any upload takes.
    /// - Returns: how many.
    func dropChunks(unusedFor age: Duration) async throws -> Int

    /// Of blobs that were found in the blob store, notes those that have no name. One that gets a name is noted no more.
    func mark(_ found: [BlobID]) async throws

    /// Gives up those that have been marked for longer than `age`: they can't get a name any more.
    /// - Returns: up to `limit` that were given up and aren't `removed` yet.
    func doom(markedFor age: Duration, limit: Int) async throws -> [BlobID]

    /// The bytes of these are gone.
    func removed(_ blobs: [BlobID]) async throws

    // MARK: News

    /// What other processes change from now on.
    func changes() -> AsyncStream<StoreChange>
}
