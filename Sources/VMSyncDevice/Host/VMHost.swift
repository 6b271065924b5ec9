import Foundation
import Logging
import NBD
import NIOCore
import NIOPosix
import Synchronization
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// What the hosts of all VMs on this device have in common.
package struct HostEnvironment: Sendable {
    package var me: DeviceIdentity
    package var folders: DeviceFolders
    package var client: SyncClient
    package var account: Account
    package var images: ImageStore
    package var capabilities: HostCapabilities
    /// libramwatch.so, if it was found.
    package var ramwatch: String?
    package var bootID: String
    package var conditions: DeviceConditions
    var links: DirectLinks
    package var logger: Logger
}

/// One VM on this device: brings it, step by step, to where the server's record and the user want it.
///
/// One task, `run`, does everything that changes the VM, one `DeviceAction` after the other; what comes from outside
/// (records, requests, a dying QEMU) is noted and wakes it. So no two steps ever interleave. The actor has a thread of
/// its own, because a replica blocks: it maps, compares, compresses and writes files.
package actor VMHost {
    /// Checkpoints whose metrics are kept for `vmsync status` and the demo.
    static let metricsKept = 4096
    /// Before the server is asked again whether it was set back.
    private static let doubtRest = Duration.seconds(1)
    /// With these a checkpoint waits, and others may be made meanwhile.
    static let serversFault: Set<VMSyncError.Code> = [.unavailable, .noSpace]

    nonisolated let thread: any EventLoop
    package nonisolated var unownedExecutor: UnownedSerialExecutor { thread.executor.asUnownedSerialExecutor() }

    package nonisolated let id: VMID
    package nonisolated let name: String
    nonisolated let environment: HostEnvironment
    nonisolated let paths: MachinePaths
    nonisolated let wake = WakeSignal()
    /// Opens when what is here of the VM has been looked at: until then nobody can say whether it runs.
    nonisolated let opened = Gate()
    nonisolated let logger: Logger
    /// What `status` gives, so that nobody waits for the thread.
    nonisolated let published: Mutex<VMStatus>
    nonisolated let progress = Mutex<StepProgress?>(nil)
    /// The base images that are still on their way, and what this VM's policy says of their parts.
    nonisolated let arrivals = Mutex(BaseArrivals())
    nonisolated let baseRule: Mutex<BaseRule>

    var record: VMRecord
    /// Whether `record` is what the server said to this daemon, and not only what an earlier one remembered: then it
    /// decides nothing yet, for the lease may be elsewhere, or here.
    var recordIsCurrent: Bool
    var serverAnswers: Bool
    /// What the server last said of the lease; `record` says how it is.
    var serverLease: (holder: DeviceID?, epoch: Epoch)
    /// What makes the difference.
    var handovers = Handovers()
    /// Grants that this daemon has refused.
    var refused: Set<SwitchID> = []
    /// What the parts of the last direct handover took.
    var handoverSteps: [String: Double] = [:]
    /// The checkpoint that is on its way to the server.
    var uploading: Task<CheckpointRecord, any Error>?
    let description: VMDescription
    var replica: Replica?
    /// Whether it is known what an earlier daemon left running here. Before that nothing is decided.
    var isAdopted = false
    var disks: NBDServer?
    /// What they serve.
    var exported: [OverlayDisk] = []
    /// For the reads of disks whose base image is still on its way; nil if none is.
    var patientReads: NIOThreadPool?
    var machine: Machine?
    var machineState = DeviceSituation.Machine.none
    var isDiverged = false
    /// The devices that the server hears from; nil if it isn't heard itself.
    var present: Set<DeviceID>?
    var failover = FailoverWatch()
    /// How many forks of late work are kept here.
    var forks = 0
    var guestShutDown = false
    var agent: GuestAgent?
    /// Of the guest since it went on here; nil until it was set.
    var clock: GuestClock?
    var waking: Task<Void, Never>?
    var tracker: DirtyTracker?
    var trackingProblem: String?
    /// Whether the tracker was armed at the checkpoint that the replica holds.
    var trackerIsCurrent = false
    var tenure: Tenure?
    /// What this device believes of the VM's history.
    var chain: Chain
    /// The epoch under which a person has let this device take the VM over.
    var forcedEpoch: Epoch?
    /// The server has shown an older head than this device knows; it may only have been late to say so.
    var headIsInDoubt = false
    /// The server was set back: nothing that it says is followed, and nothing is sent to it, until it is what it was.
    var setBack: VMSyncError?
    /// The server gave this device the VM, and whoever had it last did not.
    var forgery: VMSyncError?
    /// When this VM is synced, and why.
    var sync = SyncBook()
    /// What `status` says of it.
    var standing: SyncStanding?
    /// What this device has told the others last.
    var told: (held: Sequence, note: StandingNote, at: ContinuousClock.Instant)?
    /// What the devices have said last, and what it was read from.
    var storedNotes: [DeviceID: (bytes: Data, note: StandingNote)] = [:]
    /// What is set for the VM on all devices, and what it was read from.
    var storedPolicy: (bytes: Data?, layer: PolicyLayer) = (nil, PolicyLayer())
    var failures = 0
    var problem: VMSyncError?
    var requests: [HostRequest] = []
    var metrics: [CheckpointMetrics] = []
    /// The newest checkpoint that the server has acknowledged to us or told us of, and when, by our clock.
    var saved: (sequence: Sequence, at: ContinuousClock.Instant)?
    /// What fetching and applying the last pack took, for the report of a switch.
    var arrivalSteps: [String: Double] = [:]
    nonisolated let reader: HistoryReader
    var maker: SpanMaker?
    var spanMaking: Task<Void, Never>?
    var thumbnailSending: Task<Void, Never>?
    /// Before that none is drawn while the guest runs.
    var nextThumbnail = ContinuousClock.now
    /// The packs on the way from the replica to the head, while it catches up.
    var itinerary: [OutlinePack] = []
    /// That a better way is waited for, and when one was asked for last.
    var asking: Asking?
    var asked: ContinuousClock.Instant?
    /// When packs were merged for a device last.
    var served: [DeviceID: ContinuousClock.Instant] = [:]
    var merging: Task<Void, Never>?
    /// Spans that were found to be of no use.
    var detours: Set<PackID> = []
    /// Of the switch for which this device, as source, makes checkpoints early, so that the last one is small.
    var approach: SwitchApproach?
    /// When this device heard of it.
    var approachSince: ContinuousClock.Instant?
    /// Since when the guest stands still for a switch though its last checkpoint isn't made yet, in milliseconds since 1970.
    var heldSince: Double?
    /// While a pack is sent: that something was heard.
    var news: WakeSignal?
    /// The cold switch for which the guest was asked to shut down, and when.
    var coldSwitch: (id: SwitchID, asked: ContinuousClock.Instant)?
    /// Tells the server, as long as this device works for a switch, that it does.
    var switchKeeper: (id: SwitchID, task: Task<Void, Never>)?
    /// Whether a step is being taken.
    var isInStep = false

    /// - Parameter isCurrent: whether `record` comes from the server, not from an earlier daemon's memory.
    package init(
        record: VMRecord, _ description: VMDescription, isCurrent: Bool, environment: HostEnvironment,
        thread: any EventLoop
    ) {
        id = record.id
        name = description.name
        self.description = description
        chain = Chain(vm: record.id)
        self.record = record
        serverLease = (record.holder, record.epoch)
        recordIsCurrent = isCurrent
        serverAnswers = isCurrent
        self.environment = environment
        self.thread = thread
        paths = environment.folders.machine(record.id)
        reader = HistoryReader(vm: record.id, client: environment.client, account: environment.account)
        var logger = environment.logger
        logger[metadataKey: "vm"] = "\(description.name)"
        self.logger = logger
        published = Mutex(VMStatus(id: record.id, name: description.name))
        baseRule = Mutex(BaseRule(policy: SyncPolicy(), forecast: SyncBook().forecast, isAwaited: false))
    }

    // MARK: From outside

    /// The newest record of the VM; nil when the server stopped answering.
    package func deliver(_ newer: VMRecord?) {
        serverAnswers = newer != nil
        if let newer { take(newer) }
        news?.signal()
        publish()
        wake.signal()
    }

    /// The server says that there is no such VM.
    /// - Returns: whether it stays here all the same, because it runs here.
    func staysWithoutServer() -> Bool {
        guard tenure != nil else { return false }
        setBack = VMSyncError(
            .corrupt, "the server knows nothing of this VM any more, which runs here",
            hint: "the server was set back, or tampered with; what this device holds is kept")
        publish()
        return true
    }

    package nonisolated var status: VMStatus {
        var status = published.withLock { $0 }
        status.progress = progress.withLock { $0 }
        status.base = arrivals.withLock { $0.standing }
        return status
    }

    /// What the latest checkpoints made here cost, oldest first.
    package var latestMetrics: [CheckpointMetrics] { metrics }

    // MARK: The one task

    /// Runs until the task is cancelled; the VM itself runs on.
    package func run() async {
        while !Task.isCancelled {
            do {
                try await open()
                break
            } catch {
                opened.open()
                await fail(VMSyncError(error))
            }
        }
        publish()
        opened.open()
        while !Task.isCancelled {
            await answerRequests()
            await checkHead()
            decide()
            let action = nextAction
            await letGoOn(unless: action)
            guard action != .wait else {
                publish()
                await wake.wait(until: nextLook)
                continue
            }
            do {
                try await perform(action)
                failures = 0
                problem = nil
            } catch {
                await fail(VMSyncError(error, during: action.words))
            }
            publish()
        }
        await close()
    }

    /// When there may be something to do without a word from outside.
    private var nextLook: ContinuousClock.Instant? {
        let question: ContinuousClock.Instant? = headIsInDoubt && recordIsCurrent ? .now + Self.doubtRest : nil
        return [question, sync.nextLook].compactMap(\.self).min()
    }

    private var nextAction: DeviceAction {
        if setBack != nil { return .wait }
        noteSwitch()
        return situation.nextAction
    }

    var situation: DeviceSituation {
        let waiting = waitingCheckpoints
        var situation = DeviceSituation(
            me: environment.me.id,
            server: recordIsCurrent && !headIsInDoubt ? server : nil,
            machine: machineState, replica: replica.flatMap { $0.record.damage == nil ? $0.record.sequence : nil },
            hasBase: isAdopted, outbox: waiting.map(\.sequence), outboxEpoch: waiting.first?.epoch,
            tenure: tenure?.epoch, isDeparting: tenure?.departure != nil, serverTakesNothing: serverTakesNothing,
            checkpointIsDue: checkpointIsDue, isHeldBack: isHeldBack, capProblem: capProblem,
            approach: approach?.next ?? .lastCheckpoint,
            startWanted: requests.contains(where: \.isStart),
            obstacle: obstacle(savedBy: saver))
        situation.isFenced = isDiverged
        situation.outboxMax = OutboxOrder.settledMax(of: waiting)
        situation.isHandedHere = isHandedHere
        situation.isHandoverUntold = isHandoverUntold
        situation.shutdown = shutdown
        situation.coldObstacle = obstacle(savedBy: nil)
        return situation
    }

    private var server: DeviceSituation.Server {
        DeviceSituation.Server(
            holder: record.holder, epoch: record.epoch, head: record.head?.sequence ?? .base,
            headKind: record.head?.kind ?? .off, pendingSwitch: record.lastSwitch)
    }

    /// Why this device can't run the VM.
    /// - Parameter saver: what saved the state that it would go on from; nil if it boots.
    private func obstacle(savedBy saver: Saver?) -> VMSyncError? {
        environment.me.mirrorProblem ?? environment.capabilities.reasonAgainst(description.machine, savedBy: saver)
    }

    var waitingCheckpoints: [SealedCheckpoint] { (try? replica?.outbox()) ?? [] }

    private func perform(_ action: DeviceAction) async throws {
        isInStep = true
        defer { isInStep = false }
        logger.trace("\(action)")
        switch action {
        case .wait: break
        case .fetchBase: try await fetchBase()
        case .rebuild: try await rebuild()
        case .applyNext: try await fetchAndApply()
        case .drop(let sequence): try await drop(sequence)
        case .upload: try await upload()
        case .checkpoint: try await checkpoint()
        case .keep: try await keep()
        case .shutDownGuest(let id): try await shutDownGuest(id)
        case .sealOff: try await sealOff()
        case .handOver(let id): try await handOver(id)
        case .settleDeparture: try await settleDeparture()
        case .failHandOver(let id): try await failHandOver(id)
        case .declineHandOver(let id, let reason):
            adopt(
                try await environment.client.answer(.fail(try encrypted(reason, of: id)), to: id, of: self.id))
            try await refreshRecord()
        case .prepare: try await prepare()
        case .discard: await discardMachine()
        case .announceReady(let id): try await announceReady(id)
        case .refuse(let id, let reason):
            adopt(
                try await environment.client.answer(.refuse(try encrypted(reason, of: id)), to: id, of: self.id))
        case .goActive: try await goActive()
        case .confirmArrival(let id): try await confirmArrival(id)
        case .stepDown: try await stepDown()
        case .keepLateWork: try await keepLateWork()
        }
    }

    /// Notes a failure, tells whoever waits for the step that failed, and rests before the next try.
    private func fail(_ error: VMSyncError) async {
        guard !Task.isCancelled else { return }
        problem = error
        failures += 1
        logger.warning("\(error.message)", metadata: ["code": "\(error.code.rawValue)"])
        // Whoever asked hears of it; the step itself is tried again all the same.
        failRequests(error)
        // What failed may have been decided on a record that time has overtaken, such as a switch that expired.
        if error.code != .unavailable, error.code != .cancelled, recordIsCurrent { try? await refreshRecord() }
        publish()
        // 0.1 s, 0.2 s … 3.2 s; a new record or request ends the rest.
        let rest = Duration.milliseconds(100 << min(failures - 1, 5))
        await wake.wait(until: .now + rest)
    }

    /// Takes in what the server answered about a switch, before the event of it comes.
    func adopt(_ answered: SwitchRecord) {
        logger.debug("switch \(answered.id) is \(answered.state.rawValue)")
    }

    func refreshRecord() async throws {
        take(try await environment.client.vm(id))
    }

    private func take(_ newer: VMRecord) {
        if setBack != nil || newer.head?.sequence ?? .base < chain.memory?.sequence ?? .base { headIsInDoubt = true }
        guard newer.revision >= record.revision || !recordIsCurrent else { return }
        let known = recordIsCurrent ? record.head : nil
        record = newer
        recordIsCurrent = true
        noteServerLease()
        noteStandings()
        keepSwitchOpen()
        if let last = newer.lastSwitch { sync.note(last) }
        noteBaseRule()
        if let known { noteHead(known) }
        if let head = newer.head { noteHead(head) }
    }

    /// The server has `head`. What we committed ourselves is known before the event of it comes, and one that was on its
    /// way meanwhile must not take it back: a VM that is started next begins from the head.
    func noteHead(_ head: CheckpointRecord) {
        if head.sequence > record.head?.sequence ?? .base { record.head = head }
        if let saved, saved.sequence >= head.sequence { return }
        saved = (head.sequence, .now)
    }

    /// A record that was on its way while this device committed shows an older head, and that is no harm. One that is
    /// asked for anew does not, unless the server was set back.
    private func checkHead() async {
        // Without a record of the server's nothing that it says is followed anyway.
        guard headIsInDoubt, recordIsCurrent else { return }
        do {
            let asked = try await environment.client.vm(id)
            headIsInDoubt = false
            try chain.check(head: asked.head?.sequence ?? .base)
            setBack = nil
            // Of a server that was set back and mended the revisions may begin anew.
            recordIsCurrent = false
            take(asked)
        } catch let error as VMSyncError where error.code == .corrupt {
            setBack = error
            logger.error("\(error.message)")
        } catch {
            // Asked again with the next record.
        }
        publish()
    }

    private func close() async {
        await letGoOn()
        // They come back to this actor, whose thread ends soon.
        let beside =
            [spanMaking, merging, thumbnailSending, waking, switchKeeper?.task].compactMap(\.self)
            + arrivals.withLock { $0.tasks }
        for task in beside { task.cancel() }
        for task in beside { await task.value }
        // Let go of first: that its events end now must not pass for its own end.
        let released = machine
        machine = nil
        await released?.release()
        for disk in exported { disk.abandonReads(forGood: true) }
        await disks?.stop()
        try? await patientReads?.shutdownGracefully()
        do { try replica?.close() } catch { logger.warning("\(error.message)") }
    }
}

extension DeviceAction {
    /// What is being done, as a person says it.
    var words: String {
        switch self {
        case .wait: "waiting"
        case .fetchBase: "fetching the base image"
        case .rebuild: "rebuilding the replica"
        case .applyNext: "applying the next checkpoint"
        case .drop: "clearing the outbox"
        case .upload: "saving to the server"
        case .checkpoint, .keep: "making a checkpoint"
        case .shutDownGuest: "shutting the guest down"
        case .sealOff: "saving the disks after the shutdown"
        case .handOver: "handing the VM over"
        case .settleDeparture: "finding out where the VM runs"
        case .failHandOver, .declineHandOver: "answering a switch"
        case .prepare: "preparing to take the VM over"
        case .discard: "ending the waiting QEMU"
        case .announceReady: "announcing that this device is ready"
        case .refuse: "refusing a switch"
        case .goActive: "starting the VM"
        case .confirmArrival: "telling the server that the VM has arrived"
        case .stepDown: "pausing the VM, which is active elsewhere"
        case .keepLateWork: "keeping what was done here while the VM was active elsewhere"
        }
    }
}
