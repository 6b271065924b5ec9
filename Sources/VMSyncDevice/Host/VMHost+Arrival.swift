import Foundation
import Hummingbird
import Logging
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// Getting a VM from another device directly. (docs/protocol/direct.md)
extension VMHost {
    /// How far this device is.
    func directStanding() throws -> DirectStanding {
        guard let replica, isAdopted else {
            throw VMSyncError(.wrongState, "nothing of \(name) is here yet", device: environment.me.name)
        }
        let isWhole = replica.record.damage == nil && replica.record.applying == nil
        let problem = isWhole ? arrivalObstacle : VMSyncError(.wrongState, "this replica is being mended")
        return DirectStanding(held: replica.record.sequence, obstacle: problem.map(Reason.init))
    }

    private var arrivalObstacle: VMSyncError? {
        environment.me.mirrorProblem
            ?? environment.capabilities.reasonAgainst(description.machine, savedBy: replica?.record.saver) ?? divergence
    }

    /// Takes a pack from the device that runs the VM.
    nonisolated func receive(_ pack: DirectPack, _ body: RequestBody, from sender: DeviceID) async throws
        -> DirectStanding
    {
        try await mayReceive(pack, from: sender)
        let path = await arrivalPath
        defer { AtomicFile.remove(path) }
        let file = try await FileWriter(path)
        var size: UInt64 = 0
        for try await part in body {
            size += UInt64(part.readableBytes)
            guard size <= pack.size else { throw VMSyncError(.invalidInput, "the pack is longer than was said") }
            try await file.append(part)
        }
        guard size == pack.size else { throw VMSyncError(.invalidInput, "the pack is shorter than was said") }
        try await ask(.receive(pack, at: path, from: sender))
        return try await directStanding()
    }

    /// A file of its own for each that arrives.
    private var arrivalPath: String { "\(paths.inbox)/\(Identifier.random().prefix(8)).direct" }

    private func mayReceive(_ pack: DirectPack, from sender: DeviceID) throws {
        guard replica != nil, isAdopted else { throw VMSyncError(.wrongState, "nothing of \(name) is here yet") }
        guard record.holder == sender, record.epoch == pack.epoch else {
            throw VMSyncError(
                .fenced, "as far as \(environment.me.name) knows, that device doesn't run \(name)",
                device: environment.me.name)
        }
    }

    /// Applies what has arrived; part of the one task.
    func apply(_ pack: DirectPack, at arrived: String, from sender: DeviceID) async throws {
        // Much may have happened while it was on its way.
        try mayReceive(pack, from: sender)
        guard let replica, machineState == .none || machineState == .waiting else {
            throw VMSyncError(.wrongState, "\(name) runs here")
        }
        // It has come from the server meanwhile.
        if replica.record.sequence >= pack.sequence { return }
        var watch = Stopwatch()
        guard rename(arrived, replica.inboxPath(pack.sequence)) == 0 else {
            throw VMSyncError.system("rename", path: arrived)
        }
        try replica.receive(pack.sequence, epoch: pack.epoch, units: pack.units)
        watch.lap("apply")
        // A source that tries again and again must not fill this disk.
        if waitingCheckpoints.count > OutboxOrder.sharedMax {
            do { try replica.mergeOutbox() } catch { logger.warning("\(error.message)") }
        }
        arrivalSteps = watch.steps
        guard arrivalObstacle == nil, replica.record.kind == .live else { return }
        if machineState == .none { try await prepare() }
        await preloadScreen()
    }

    // MARK: The grant

    /// Takes the VM over, or says why not.
    nonisolated func take(_ handovers: Handovers, from sender: DeviceID) async throws -> DirectVerdict {
        do {
            try await ask(.take(handovers, from: sender))
        } catch {
            return DirectVerdict(refused: Reason(VMSyncError(error)))
        }
        return DirectVerdict(taken: await handoverSteps)
    }

    /// Order: everything is checked, and the state is in QEMU → the grant is noted, and with it the VM is here → the outbox is
    /// ours, the tenure is noted → the guest runs. Only before the second step may it be refused.
    func takeOver(_ given: Handovers, from sender: DeviceID) async throws {
        guard let grant = given.last else { throw VMSyncError(.invalidInput, "a grant that grants nothing") }
        // It was taken, and the answer was lost.
        if handovers.knows(grant.id) { return }
        // What was refused once the other device may have taken back.
        guard !refused.contains(grant.id) else { throw VMSyncError(.wrongState, "this grant was refused before") }
        refused.insert(grant.id)
        guard let replica, machineState == .none || machineState == .waiting, tenure == nil else {
            throw VMSyncError(.wrongState, "\(name) can't be taken over here now")
        }
        try check(given, from: sender, replica)
        try Fault.point("before-grant-taken")
        var watch = Stopwatch()
        let state = try replica.deviceState()
        let machine = try await machineToActivate(state)
        watch.lap("prepare")
        do { try await machine.loadDeviceState(state) } catch {
            await discardMachine()
            throw error
        }
        watch.lap("load")
        // Records come while this waits.
        do { try check(given, from: sender, replica) } catch {
            await discardMachine()
            throw error
        }
        try saveHandovers(handovers.followed(by: given))
        refused.remove(grant.id)
        var mayHaveRun = false
        do {
            try Fault.point("grant-taken")
            try shareOutbox(of: grant, replica)
            try saveTenure(Tenure(epoch: grant.epoch.next), durable: true)
            mayHaveRun = true
            try await machine.resume()
            watch.lap("continue")
        } catch {
            // The VM is here. It is started anew from the same state, if that is whole; else from what is saved of it.
            logger.error("\(name) did not go on: \(error)")
            if mayHaveRun { try markLost(replica) }
            await discardMachine()
            try saveTenure(nil)
            return
        }
        machineState = .running
        sync.beginCheckpoint()
        handoverSteps = watch.steps.merging(arrivalSteps) { step, _ in step }
        handoverSteps["prepare"] = nil
        handoverSteps["running_at"] = HostClock.milliseconds
        handoverSteps["target_clock"] = HostClock.tag(bootID: environment.bootID)
        wakeGuest(pullsCable: false)
        sync.makeDue()
        try Fault.point("handed-over")
    }

    private func check(_ given: Handovers, from sender: DeviceID, _ replica: Replica) throws {
        guard let grant = given.last, grant.to == me, grant.from == sender else {
            throw VMSyncError(.invalidInput, "this grant is not for this device, or not of the one that sends it")
        }
        var followed = Handovers()
        for next in given.list { try followed.add(next) }
        // The giver may have told the server of earlier ones, of which this device hasn't heard that it did.
        let actual = given.actual(record.holder, record.epoch)
        guard actual.holder == me, actual.epoch == grant.epoch.next else {
            throw VMSyncError(
                .fenced, "\(name) has gone elsewhere, as \(environment.me.name) knows from the server",
                hint: "vmsync status \(name)", device: environment.me.name)
        }
        guard replica.record.sequence == grant.sequence, replica.record.damage == nil, replica.record.kind == .live
        else {
            throw VMSyncError(.wrongState, "\(environment.me.name) doesn't hold checkpoint \(grant.sequence)")
        }
        let words = given.words.compactMap { try? Signed<Release>(bytes: $0) }
        let mayFollow = [nil, recordedRelease] + words.map(Optional.some)
        guard mayFollow.contains(where: { chain.mayFollow(me, under: actual.epoch, after: $0, account.roster) }) else {
            throw VMSyncError(
                .unauthorized, "\(environment.me.name) can't believe that \(name) was given to it",
                hint: "vmsync sync \(name) on both devices, then once more", device: environment.me.name)
        }
    }

    /// What waits there and here is the right of the new holder to save; it must leave the state at which both stand as it is.
    func shareOutbox(of grant: Handover, _ replica: Replica) throws(VMSyncError) {
        let saved = grant.words.compactMap { try? Signed<Release>(bytes: $0).read().after.sequence }.max() ?? .base
        try replica.changeOutbox { waiting in
            if waiting.sequence <= saved { waiting.mayBeSaved = true }
            guard waiting.sequence <= grant.sequence, waiting.epoch <= grant.epoch else { return }
            waiting.epoch = grant.epoch.next
            guard waiting.sequence == grant.sequence else { return }
            waiting.awaitedBy = (waiting.awaitedBy ?? []).union([grant.from])
        }
    }
}
