import Foundation
import VMSyncCore
import VMSyncPolicy

/// Who there is, which VMs, what their leases say, and where bytes are. All errors are `VMSyncError`.
///
/// Each call is one transaction, durable when it returns, as if no other ran meanwhile. Time is the store's own, so that
/// several servers on one store agree. A call that throws `unavailable` may have happened all the same; all may be
/// repeated. Every implementation passes the contract in `MetadataStoreContract` of the tests.
package protocol MetadataStore: Sendable {
    /// What time it is.
    func time() async throws -> Timestamp

    // MARK: Servers

    /// The keys of the servers on this store.
    /// - Parameter fresh: what to keep if there are none yet.
    func serverKeys(orKeep fresh: [UInt8]) async throws -> [UInt8]

    /// This server is there, at `url`. Counts for `SQLMetadataStore.presenceMax`.
    func serverArrived(_ server: ServerRun, url: String) async throws
    func serverLeft(_ server: ServerRun) async throws

    /// The addresses of the servers that are there, sorted.
    func servers() async throws -> [String]

    // MARK: Accounts

    /// Keeps an invitation by the hash of its code, for `lifetime`.
    /// - Parameter account: that it leads to; nil if it is for a new one.
    /// - Returns: when it expires.
    func invite(_ code: ContentHash, to account: ContentHash?, lifetime: Duration) async throws -> Timestamp

    /// Whether anybody has an account here.
    func hasAccounts() async throws -> Bool

    /// Uses up the invitation and makes the account with its first device, or neither. The same again is no error.
    /// - Parameters:
    ///   - entry: the first of its list of devices; the account's id is the hash of it.
    ///   - recovery: the hash of its recovery identity.
    /// - Throws: `unauthorized` if the invitation is unknown, used or expired; `alreadyExists` if the device has one.
    func found(
        _ account: ContentHash, by device: DeviceID, entry: [UInt8], recovery: ContentHash, invitation: ContentHash
    ) async throws

    /// The account whose recovery identity has this hash.
    func account(recovery: ContentHash) async throws -> ContentHash?

    /// The entries of the account's list of devices from number `first` on.
    func roster(of account: ContentHash, from first: Int) async throws -> [[UInt8]]

    /// Adds the entry with this number and what follows from it, or nothing. Whoever is admitted is a device from then on.
    /// - Throws: `outOfOrder` unless the list has `number` entries.
    func append(
        _ entry: [UInt8], number: Int, to account: ContentHash, _ effect: RosterEffect, grants: [StoredGrant]
    ) async throws

    /// Keeps keys for their recipients, instead of what they had of the same subject and generation.
    func add(_ grants: [StoredGrant], of account: ContentHash) async throws

    /// All keys for `recipient`.
    func grants(for recipient: String, of account: ContentHash) async throws -> [[UInt8]]

    // MARK: Applications

    /// Keeps an application for `lifetime`, instead of an earlier one of the device.
    /// - Returns: the account that its ticket is of, if it has one.
    /// - Throws: `unauthorized` if its ticket is unknown, used or expired; `unavailable` if too many wait without one.
    @discardableResult
    func apply(_ application: Application, lifetime: Duration) async throws -> ContentHash?

    func application(of device: DeviceID) async throws -> StoredApplication?

    /// Those that wait with a ticket of this account.
    func applications(to account: ContentHash) async throws -> [Application]

    // MARK: Devices

    /// Whose the device is; nil if it was never admitted anywhere.
    func membership(of device: DeviceID) async throws -> Membership?

    /// The members of an account, in the order in which they joined.
    func devices(of account: ContentHash) async throws -> [StoredDevice]

    /// - Throws: `notFound`.
    func setProfile(_ profile: [UInt8], of device: DeviceID) async throws

    /// The device is there, at this server. Counts for `SQLMetadataStore.presenceMax`, unless it leaves.
    /// - Returns: whether that is news.
    @discardableResult
    func arrived(_ device: DeviceID, at server: ServerRun) async throws -> Bool

    func left(_ device: DeviceID, from server: ServerRun) async throws

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
    /// - Throws: `alreadyExists` if the id is taken by another; `wrongState` if a chunk isn't known.
    func create(_ vm: NewVM) async throws -> StoredVM

    func vm(_ id: VMID) async throws -> StoredVM?

    /// All VMs of an account, the oldest first.
    func vms(of account: ContentHash) async throws -> [StoredVM]

    /// The chunks a VM needs to begin with, sorted.
    func chunks(of vm: VMID) async throws -> [ContentHash]

    /// - Parameter policy: nil removes it.
    /// - Throws: `notFound`.
    func setPolicy(_ policy: [UInt8]?, of vm: VMID) async throws -> StoredVM

    /// Keeps what `device` says of itself and the VM, instead of what it said before.
    /// - Throws: `notFound`.
    func setStanding(held: Sequence, note: [UInt8]?, of vm: VMID, by device: DeviceID) async throws -> StoredVM

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

    func checkpoint(of vm: VMID, at sequence: Sequence) async throws -> CheckpointRecord?

    // MARK: History

    /// Adds a span, or gives back the one that is there.
    /// - Throws: `notFound` if an end of it is no state; `alreadyExists` if it is a checkpoint's own pack; `wrongState` if a
    ///   chunk isn't known.
    func addSpan(_ span: NewPack, of vm: VMID) async throws -> SpanRecord

    /// Gives a span another link.
    func setLink(_ link: Data, of span: PackID, of vm: VMID) async throws

    /// Up to `limit` spans that end after `sequence`, in order.
    func spans(of vm: VMID, after sequence: Sequence, limit: Int) async throws -> [SpanRecord]

    /// Removes a pack that is of no use, such as one whose bytes are damaged.
    /// - Returns: the blobs that held it, which are garbage now.
    /// - Throws: `wrongState` if no other route leads to the head or a listed checkpoint.
    func removePack(_ id: PackID, of vm: VMID) async throws -> [BlobID]

    /// A pack, and where its bytes are.
    func pack(_ id: PackID, of vm: VMID) async throws -> StoredPack?

    /// Up to `limit` checkpoints after `sequence`, in order, with the packs that lead to them.
    func outline(of vm: VMID, after sequence: Sequence, limit: Int) async throws -> HistoryOutline

    /// - Throws: `notFound` unless the checkpoint is on the list.
    func setTag(_ tag: [UInt8]?, of sequence: Sequence, of vm: VMID) async throws

    /// Keeps a picture of the screen, in the place of any other.
    /// - Throws: `notFound` unless the checkpoint is on the list.
    func setThumbnail(_ thumbnail: [UInt8], of sequence: Sequence, of vm: VMID) async throws

    /// - Returns: nil if the checkpoint has none.
    /// - Throws: `notFound` unless the checkpoint is on the list.
    func thumbnail(of sequence: Sequence, of vm: VMID) async throws -> [UInt8]?

    /// Takes those of `sequences` off the list that are neither the head nor have a tag; their thumbnails are gone.
    /// - Parameter isTrial: whether to say only what would be.
    /// - Returns: these, and what a `prune` would remove then.
    func forget(_ sequences: [Sequence], of vm: VMID, isTrial: Bool) async throws -> Pruned

    /// Removes what nothing needs any more.
    /// - Returns: with the blobs whose bytes are garbage now.
    func prune(_ vm: VMID, isTrial: Bool) async throws -> Pruned

    // MARK: Shares

    /// Keeps a share; the same again is given back as it is.
    /// - Throws: `alreadyExists` if the id is taken by another; `invalidInput` if its terms can't be; `unavailable` if too
    ///   many are open; `wrongState` if a chunk isn't known.
    func addShare(_ share: NewShare, of account: ContentHash) async throws -> ShareRecord

    /// The oldest first.
    func shares(of account: ContentHash) async throws -> [ShareRecord]

    /// Opens a share for `device`, and counts that.
    /// - Throws: `notFound`, and what `ShareRecord.open` throws.
    func openShare(_ terms: ShareTerms, tag: String, by device: DeviceID) async throws -> ShareContent

    /// Ends a share at once.
    /// - Returns: the blobs that held it, which are garbage now.
    /// - Throws: `notFound`.
    func revokeShare(_ id: ShareID, of account: ContentHash) async throws -> [BlobID]

    /// Takes the bytes of shares that are over, and forgets those that ended long ago.
    /// - Returns: the blobs that are garbage now.
    func endShares() async throws -> [BlobID]

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
