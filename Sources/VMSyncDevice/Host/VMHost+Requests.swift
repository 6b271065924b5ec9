import Logging
import Synchronization
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// Something a user asked of one VM on this device, and who waits for it.
struct HostRequest {
    enum Kind: Equatable {
        /// `force` takes the VM from a device that is lost.
        case start(force: Bool, seen: Epoch?)
        /// Follow what the server has, without the packs.
        case follow
        /// Press the power button; `force` pulls the plug.
        case stop(force: Bool)
        case suspend
        /// Make a checkpoint and keep it here.
        case keepNow
        /// Send, or fetch, all that there is.
        case sync
        /// Make an earlier checkpoint the head.
        case goBack(to: Sequence)
        /// Hand the VM over to another device directly.
        case give(to: DirectLinks.Peer, SwitchID)
        /// What such a device sends: a state, and the VM itself.
        case receive(DirectPack, at: String, from: DeviceID)
        case take(Handovers, from: DeviceID)
    }

    let kind: Kind
    let answer: CheckedContinuation<Void, any Error>
    var isBegun = false

    var isStart: Bool { if case .start = kind { true } else { false } }
    var isGive: Bool { if case .give = kind { true } else { false } }
}

/// What a user asks for. Each call returns when it has come true.
extension VMHost {
    /// - Parameters:
    ///   - force: takes the VM over from the device that had it last. What that one had not saved is lost to the others.
    ///   - seen: the epoch on which that was decided.
    package func start(force: Bool = false, seen: Epoch? = nil) async throws {
        if let divergence { throw divergence }
        if let mirrorProblem = environment.me.mirrorProblem { throw mirrorProblem }
        if machineState == .running {
            // QEMU pauses the guest when its disk can't be written; asked to start, it tries again.
            if try await machine?.runState() == .ioError { try await machine?.resume() }
            return
        }
        if !force, await isHeldElsewhere() {
            throw VMSyncError(
                .leaseHeld, "\(name) runs on another device",
                hint: "vmsync switch \(name); if that device is lost: vmsync switch \(name) --force")
        }
        try await ask(.start(force: force, seen: seen))
    }

    /// What the server has said last may still be on its way, behind all that is fetched over a slow link.
    private func isHeldElsewhere() async -> Bool {
        if let holder = record.holder, holder != me, serverAnswers { try? await refreshRecord() }
        return record.holder.map { $0 != me } ?? false
    }

    package func stop(force: Bool) async throws {
        try requireRunning()
        try await ask(.stop(force: force))
    }

    /// Saves everything to the server, or fetches everything from it, whatever restraints say.
    package func syncNow() async throws { try await ask(.sync) }

    package func suspendVM() async throws {
        try requireRunning()
        try await ask(.suspend)
    }

    /// Makes the state of an earlier checkpoint the head; the VM must run nowhere.
    package func restore(to sequence: Sequence) async throws {
        // An interrupted attempt may have left the lease here.
        guard await !isHeldElsewhere() else {
            throw VMSyncError(
                .wrongState, "\(name) runs on another device, so it can't go back",
                hint: "vmsync suspend \(name) there, then once more")
        }
        try checkNothingRunsHere()
        try await ask(.goBack(to: sequence))
    }

    /// Up to where the VM's history is known to be what its devices have signed.
    package func chainHead() async throws -> ChainPoint? {
        try await ask(.follow)
        return chain.point
    }

    private func requireRunning() throws {
        if let divergence { throw divergence }
        guard machineState == .running else {
            let hint = record.holder == nil ? "vmsync start \(name)" : "vmsync switch \(name)"
            throw VMSyncError(.wrongState, "\(name) doesn't run on this device", hint: hint)
        }
    }

    func ask(_ kind: HostRequest.Kind) async throws {
        try await withCheckedThrowingContinuation { answer in
            requests.append(HostRequest(kind: kind, answer: answer))
            if isGiveWanted { breakOffUpload() }
            wake.signal()
        }
    }

    /// Begins what was asked for and answers what has come true; part of the one task.
    func answerRequests() async {
        for index in requests.indices where !requests[index].isBegun {
            requests[index].isBegun = true
            await letGoOn()
            do {
                try await begin(requests[index].kind)
            } catch {
                let failed = requests.remove(at: index)
                failed.answer.resume(throwing: VMSyncError(error))
                break
            }
        }
        let (fulfilled, waiting) = requests.partitioned { isFulfilled($0.kind) }
        requests = waiting
        if !fulfilled.isEmpty { progress.withLock { $0 = nil } }
        for request in fulfilled { request.answer.resume() }
    }

    /// Those that came while the step that failed was under way aren't begun, and have nothing to do with it.
    func failRequests(_ error: VMSyncError) {
        let (failed, waiting) = requests.partitioned { $0.isBegun }
        requests = waiting
        for request in failed { request.answer.resume(throwing: error) }
    }

    /// The lease, under an epoch under which this device hasn't given the VM back, as it has when it was interrupted on the
    /// way back to an earlier checkpoint.
    func acquireLease(force: Bool, seen: Epoch? = nil) async throws -> Epoch {
        // The server would give it: it doesn't know yet.
        guard force || !isGivenAway else {
            throw VMSyncError(
                .leaseHeld, "\(name) was handed over to another device",
                hint: "vmsync switch \(name); if that device is lost: vmsync switch \(name) --force")
        }
        let epoch = try await environment.client.acquireLease(id, force: force, seen: seen)
        guard chain.hasReleased(epoch) else { return epoch }
        try await refreshRecord()
        try await environment.client.releaseLease(id, epoch: epoch, word: try noteRelease())
        return try await environment.client.acquireLease(id)
    }

    private func begin(_ kind: HostRequest.Kind) async throws {
        switch kind {
        case .follow: try await followToHead()
        case .start(let force, let seen):
            // What waits is sent first, and what lacks is fetched.
            if let capProblem { throw capProblem }
            // Else the server would give what this device has as if nobody had it, and count on to the same epoch.
            if !force, isHandoverUntold { try await tellHandovers() }
            let (isTakenBack, before) = (force && isGivenAway, record.epoch)
            let epoch =
                isTakenBack ? try await takeLeaseBack() : try await acquireLease(force: force, seen: seen)
            if force { forcedEpoch = epoch }
            try await refreshRecord()
            if force { try keepWhatIsHere(of: before) }
        case .stop(let force):
            if force {
                guestShutDown = true
                await machine?.end()
            } else {
                progress.withLock { $0 = StepProgress(step: "waiting for the guest to shut down") }
                try await machine?.pressPowerButton()
            }
        case .suspend:
            if let capProblem { throw capProblem }
            try await suspend()
        case .sync:
            if let capProblem { throw capProblem }
            sync.makeDue()
        case .keepNow:
            if machineState == .running { try await keep() }
        case .goBack(let target):
            try await goBack(to: target)
        case .give(let peer, let id): try await handOver(to: peer, as: id)
        case .receive(let pack, let path, let sender): try await apply(pack, at: path, from: sender)
        case .take(let handovers, let sender): try await takeOver(handovers, from: sender)
        }
    }

    /// Whether the server has what was done here until it was asked for, or this device what the server has.
    private var isSynced: Bool {
        guard record.holder == me else { return replica?.record.sequence == record.head?.sequence ?? .base }
        return waitingCheckpoints.isEmpty && (machineState != .running || sync.sinceLast != nil)
    }

    private func isFulfilled(_ kind: HostRequest.Kind) -> Bool {
        switch kind {
        case .start: machineState == .running
        case .follow, .goBack, .keepNow, .give, .receive, .take: true
        case .sync: isSynced
        case .stop, .suspend: machineState == .none && tenure == nil
        }
    }
}

extension Array {
    fileprivate func partitioned(_ belongsFirst: (Element) -> Bool) -> ([Element], [Element]) {
        (filter(belongsFirst), filter { !belongsFirst($0) })
    }
}

extension VMHost {
    /// Reads everything that the replica holds and compares it with what it ought to be. The guest must not run here.
    package func verify() throws -> Verification {
        guard let replica else { throw VMSyncError(.wrongState, "nothing of \(name) is on this device yet") }
        guard machineState != .running else {
            throw VMSyncError(
                .wrongState, "\(name) runs here and changes all the time",
                hint: "verify it on a standby, or suspend it first")
        }
        return Verification(
            sequence: replica.record.sequence, recorded: "\(replica.record.digest.combined)",
            recomputed: "\(try replica.recomputedDigest().combined)")
    }
}
