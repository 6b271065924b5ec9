import Foundation
import Logging
import Synchronization
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// Following: packs, and a QEMU that waits.
extension VMHost {
    func rebuild() async throws {
        await discardMachine()
        guard let replica else { return }
        logger.notice(
            "rebuilding from the server", metadata: ["reason": "\(replica.record.damage ?? "off the history")"])
        try replica.reset()
        try saveTenure(nil)
    }

    /// Fetches the next pack of the route to the head and applies it. A pack that is damaged is fetched again.
    func fetchAndApply() async throws {
        guard let replica, let head = record.head else { return }
        do {
            if try await awaitsMerge(to: head.sequence, replica) { return }
            guard let next = try await nextPack(to: head.sequence, replica), mayFetch(next) else { return }
            try await fetchAndApply(next, replica)
            sync.lastFetch = .now
            environment.conditions.saveTraffic()
        } catch {
            noteDetour(VMSyncError(error), replica)
            throw error
        }
        showCatchUp()
        if let pending = record.lastSwitch, pending.to == environment.me.id, pending.state == .ready {
            await followApproach(of: pending.id)
        }
    }

    /// Fetches `pack`, which follows what the replica holds, and applies it.
    func fetchAndApply(_ pack: PackID, _ replica: Replica) async throws {
        var watch = Stopwatch()
        let sequence = pack.last
        if chain.point?.sequence ?? .base != sequence { try await followStatements(to: pack.first) }
        if let head = record.head { await reader.learn(head) }
        let believed = try await reader.believe(pack, after: chain)
        try adopt(believed.chain)
        forgery = nil
        let fetched = try await reader.fetch(believed, to: replica.inboxPath(sequence) + ".encrypted")
        watch.lap("fetch")
        sync.down.note(bytes: Int(believed.reference.size), seconds: (watch.steps["fetch"] ?? 0) / 1000)
        try fetched.decrypt(into: replica.inboxPath(sequence))
        watch.lap("decrypt")
        if record.holder == me { try Fault.point("arrival-fetched") }
        if isMirror { keepForHistory(pack, from: replica.inboxPath(sequence)) }
        try await bringBase(for: sequence, replica)
        try replica.applyInbox(sequence)
        guard account.hasKey(of: .vm(id), withDigest: believed.said.digest, of: replica.record.digest.combined) else {
            try replica.markDamaged("checkpoint \(sequence) isn't the state that its device has signed")
            throw VMSyncError(.corrupt, "checkpoint \(sequence) isn't the state that its device has signed")
        }
        if keepEnd(of: sequence, basis: pack.first), isMirror { makeSpans(to: sequence) }
        answerWishes()
        watch.lap("apply")
        if record.holder == me { try Fault.point("arrival-applied") }
        arrivalSteps = watch.steps
    }

    /// Starts a QEMU on the replica's memory that waits for device state.
    ///
    /// Its tracker is armed before its first instruction, and the packs that are applied meanwhile go through the
    /// daemon's own mapping, which it doesn't watch: so from the load on it reports just what this QEMU wrote.
    func prepare() async throws {
        _ = try await launch(.incoming)
        try tracker?.arm()
        trackerIsCurrent = tracker != nil
        machineState = .waiting
    }

    func announceReady(_ pending: SwitchID) async throws {
        guard let replica else { return }
        adopt(try await environment.client.answer(.ready(at: replica.record.sequence), to: pending, of: id))
        // The event of it may come later than the next turn; the answer must not be given twice.
        try await refreshRecord()
        await preloadScreen()
    }

    /// Another round of the source of a switch to here is applied.
    private func followApproach(of pending: SwitchID) async {
        guard let replica else { return }
        do {
            adopt(try await environment.client.answer(.ready(at: replica.record.sequence), to: pending, of: id))
        } catch {
            // The source goes on without it, only later.
            logger.debug("the source doesn't know how far this device is: \(error)")
        }
        await preloadScreen()
    }

    /// While the source of a switch comes nearer: gives the waiting QEMU the screen of the checkpoint that is here.
    func preloadScreen() async {
        guard let replica, let machine, machineState == .waiting, replica.record.kind == .live else { return }
        do {
            try await machine.preloadScreen(of: replica.deviceState())
        } catch {
            // Another one is started.
            logger.warning("the waiting QEMU is of no use any more: \(error)")
            await discardMachine()
        }
    }

    // MARK: Becoming active

    /// Runs the VM here from the head. The lease is ours and the replica is at the head.
    ///
    /// Order: the tenure is noted → memory and device state are in QEMU → the guest runs → the server hears of it.
    func goActive() async throws {
        guard let replica else { return }
        try Fault.point("before-activation")
        var watch = Stopwatch()
        var mayHaveRun = false
        let isArriving = record.lastSwitch?.isArriving(at: me) ?? false
        // Records come while this waits; what was judged is what is done.
        let epoch: Epoch
        let isForced: Bool
        do {
            try await checkRight()
            (epoch, isForced) = (record.epoch, self.isForced)
            let state = replica.record.kind == .live ? try replica.deviceState() : nil
            let machine = try await machineToActivate(state)
            // The disks of a VM that was off outlive a power loss, so what says that they changed must do so too.
            let isOff = replica.record.kind == .off
            try saveTenure(Tenure(epoch: epoch, isForced: isForced ? true : nil), durable: isOff)
            watch.lap("prepare")
            try Fault.point("before-load")
            if let state { try await machine.loadDeviceState(state) }
            watch.lap("load")
            try Fault.point("after-load")
            guard record.holder == me, record.epoch == epoch else {
                throw VMSyncError(
                    .fenced, "the VM went elsewhere while it was started here", hint: "vmsync status \(name)")
            }
            mayHaveRun = true
            try await machine.resume()
            watch.lap("continue")
        } catch {
            if mayHaveRun { try markLost(replica) }
            try await giveUpActivation(VMSyncError(error))
            throw error
        }
        machineState = .running
        sync.beginCheckpoint()
        if replica.record.kind == .live { wakeGuest(pullsCable: !isArriving) } else { listenToAgent() }
        try Fault.point("after-continue")
        await reportArrival(watch.steps)
    }

    /// The QEMU that waits for device state, or a new one; without a state it boots.
    func machineToActivate(_ state: [UInt8]?) async throws -> Machine {
        if let state {
            if machineState != .waiting || machine?.canLoad(state) != true {
                await discardMachine()
                try await prepare()
            }
        } else {
            await discardMachine()
            _ = try await launch(.boot)
        }
        guard let machine else { throw VMSyncError(.machine, "QEMU ended before the VM could start") }
        return machine
    }

    /// The guest has not run here: gives the lease back, so that the VM can be started where it was.
    private func giveUpActivation(_ error: VMSyncError) async throws {
        await discardMachine()
        try saveTenure(nil)
        // Only here there is a whole state of it.
        if isHandedHere { return }
        if let pending = record.lastSwitch, pending.isArriving(at: me) {
            let reason = VMSyncError(
                error.code, "the VM can't go on here: \(error.message)",
                hint: "vmsync start \(name), on the device that had it", device: environment.me.name)
            _ = try? await environment.client.answer(
                .fail(try encrypted(Reason(reason), of: pending.id)), to: pending.id, of: id)
        }
        try await environment.client.releaseLease(id, epoch: record.epoch, word: try noteRelease())
        try await refreshRecord()
    }

    /// Tells the server, and through it the user, that the guest runs and what its arrival took. The VM runs already, so
    /// a server that doesn't answer is no failure.
    private func reportArrival(_ steps: [String: Double]) async {
        guard let pending = record.lastSwitch, pending.isArriving(at: me) else { return }
        var report = steps.merging(arrivalSteps) { step, _ in step }
        report["prepare"] = nil
        report["running_at"] = HostClock.milliseconds
        report["target_clock"] = HostClock.tag(bootID: environment.bootID)
        do {
            _ = try await environment.client.answer(.report(report), to: pending.id, of: id)
            _ = try await environment.client.answer(.done, to: pending.id, of: id)
            try await refreshRecord()
        } catch {
            logger.warning("the server doesn't know yet that the VM runs here: \(error)")
        }
    }

    /// The same once more, after the daemon was restarted or the server away: until it is said, no other switch can begin.
    func confirmArrival(_ pending: SwitchID) async throws {
        adopt(try await environment.client.answer(.done, to: pending, of: id))
        try await refreshRecord()
    }
}
