import VMSyncCore
import VMSyncPolicy

/// What a device's disk keeps when its daemon dies; small files that are there or aren't.
/// (ARCHITECTURE.md, "What a kill means")
struct DeviceDisk {
    /// `replica.json`.
    struct Record {
        var sequence = Sequence.base
        var kind = CheckpointKind.off
        var applying: Int32?
        var isDamaged = false
        var isBeingReset = false
        /// After a power loss: up to here the outbox counts, though the replica begins again.
        var outboxEnd: Sequence?
    }

    /// A folder of the outbox.
    struct Waiting: WaitingCheckpoint {
        /// Of the checkpoint, in `World.sealed`.
        let number: Int32
        let sequence: Sequence
        let parent: Sequence
        let units: Int
        let epoch: Epoch
        let kind: CheckpointKind
        let work: Int32
        /// Whether its statement is beside it: it may have been sent.
        var isOffered = false
        /// Whether it survives a power loss.
        var isSynced = false
        /// The devices that stand at it.
        var awaitedBy: Set<Int> = []
        /// Whether the server may have it, from another device.
        var mayBeSaved = false
        var mustStay: Bool { !awaitedBy.isEmpty || mayBeSaved }
        /// Whether another device has sealed it, and hasn't given it.
        var isReceived = false
        /// Whether it was sealed before the host lost its power.
        var isOfEarlierBoot = false

        init(_ checkpoint: SealedCheckpoint) {
            number = checkpoint.number
            sequence = checkpoint.sequence
            parent = checkpoint.parent
            units = checkpoint.units
            epoch = checkpoint.epoch
            kind = checkpoint.kind
            work = checkpoint.work
        }
    }

    var record = Record()
    /// All folders, also those that a merge has swallowed.
    var outbox: [Waiting] = []
    var inbox: Int32?
    var tenure: Tenure?
    /// When `tenure` was written: a power loss takes what is younger than a few seconds.
    var tenureWritten = 0
    var tenureBefore: Tenure?
    /// `chain.json`: up to which epoch the VM was given back without running it.
    var released = Epoch(rawValue: 0)
    /// `handovers.json`, which survives a power loss.
    var handovers = Handovers()
    /// Late work that is kept until the person drops it: checkpoints, each relative to the one before.
    var forks: [Waiting] = []
    var hasBase = true
    var isFull = false

    /// The outbox as the replica gives it. (`Replica.outbox`)
    var waiting: [Waiting] {
        if outbox.isEmpty { return [] }
        let end = max(record.sequence, record.outboxEnd ?? .base)
        return OutboxOrder.waiting(outbox.filter { $0.sequence <= end })
    }

    /// The checkpoint that the replica holds; nil if it must be rebuilt.
    var replica: Sequence? { record.isDamaged ? nil : record.sequence }
}

/// What a person asked of a daemon.
enum PersonRequest: Equatable {
    case start(force: Bool)
    case suspend
    case shutDown
    case pullPlug
    /// Hand the VM over directly.
    case give(to: Int)
}

/// What a daemon waits for, and goes on with when the answer comes.
enum Awaited: Equatable {
    case nothing
    case uploaded(Int32)
    /// A checkpoint that is sent before the last one.
    case earlierSent(Int32)
    /// The last one; `again` if the server was asked before whether it may still be sent.
    case lastSent(Int32, again: Bool)
    /// Which checkpoint stands where one of the outbox waits that is older than `before`, when `oldest` is to be dropped.
    case looked(Sequence, oldest: Sequence, inDeparture: Bool)
    case granted(SwitchID)
    case settling
    case settlingFailed
    case refreshed
    case refreshedAfterFailure
    case toldFailure(Failure)
    case base
    case pack
    case toldReady
    case followed
    case told
    case arrived
    case acquired(force: Bool)
    /// The lease came under an epoch under which it was given back before: it is given back again, and asked for anew.
    case refreshedToRelease(Epoch, force: Bool)
    case releasedToAcquire(force: Bool)
    case started
    case gaveUp(Failure)
    case releasedAfterGivingUp(Failure)
}

/// What a daemon knows, and forgets when it dies.
struct Daemon {
    var record: DeviceSituation.Server?
    /// What the server said of the lease; `record` says how it is.
    var serverLease: (holder: DeviceID?, epoch: Epoch) = (nil, Epoch(rawValue: 0))
    var refused: Set<SwitchID> = []
    var revision = -1
    var release: ReleaseWord?
    var silent: Int?
    /// Whether it is known what an earlier daemon left here.
    var isAdopted = false
    var machineState = DeviceSituation.Machine.none
    var isDiverged = false
    var guestShutDown = false
    /// By the device's clock, milliseconds.
    var nextCheckpoint = 0
    var failures = 0
    var problem: Failure?
    var requests: [PersonRequest] = []
    /// How many of `requests` were begun, from the first on.
    var begun = 0
    var approach: SwitchApproach?
    /// For which the guest was asked to shut down, and when.
    var coldSwitch: (id: SwitchID, asked: Int)?
    var forcedEpoch: Epoch?
    var awaited = Awaited.nothing
    /// When the checkpoint that is being sent was begun.
    var roundBegan: Int?
}

/// One device: a host with a disk and memory, a QEMU that outlives the daemon, the daemon.
struct SimulatedDevice {
    enum QEMU: Equatable {
        case none
        case waiting
        case running
        /// Stopped when its state was saved.
        case saved
        case shutDown

        /// Whether there is a guest in it, running or not.
        var hasGuest: Bool { self == .running || self == .saved || self == .shutDown }
    }

    let name: DeviceID
    let index: Int

    // Survives everything but what each says.
    var disk = DeviceDisk()
    /// Guest memory and overlay disks, as they are. Memory doesn't survive the host.
    var ram = Registers.zero
    /// What the hash tables say that `ram` holds at the record's checkpoint.
    var tables = Registers.zero
    /// What was done in `ram`; for the invariants.
    var work = WorkTree.base
    var qemu = QEMU.none
    /// Until when the running guest's writes have been made.
    var workedUntil = 0

    var isHostUp = true
    var isDaemonUp = false
    var daemon = Daemon()
    var isCutFromServer = false
    var isCutFromOthers = false
    var clockOffset = 0
    /// Milliseconds from the device to the server, at least.
    var delay = 10

    /// Counts daemons and their questions, so that what is meant for an earlier one is known.
    var question = 0
    /// Counts connections for events; records of an earlier one don't arrive.
    var connection = 0
    var isConnected = false
    /// Of the planned turns only the last one counts.
    var turn = 0
    var turnTime = Int.max
    /// After so many more durable writes the daemon dies.
    var writesLeft = Int.max

}
