import Crypto
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

/// Being active: checkpoints, their upload, and the last one, with which the lease goes elsewhere.
extension VMHost {
    /// How often `status` is brought up to date while a pack is sent.
    private static let telling = Duration.seconds(1)

    /// One checkpoint of the running guest: paused as shortly as possible, encoded when it runs again.
    func checkpoint() async throws {
        try await make { made, start in
            guard mayTransfer(made.sealed.packBytes), !isGiveWanted else { return keepHere(made, since: start) }
            try await upload(made.sealed, made: made)
            approach?.note(.now - start, sent: made.sealed.sequence)
            sendThumbnailIfDue(of: made.sealed.sequence)
        }
    }

    /// The same, but nothing is sent.
    func keep() async throws {
        try await make { made, start in keepHere(made, since: start) }
    }

    private func make(
        _ then: (_ made: Made, _ start: ContinuousClock.Instant) async throws -> Void
    ) async throws {
        let start = ContinuousClock.now
        let interval = sync.interval
        sync.beginCheckpoint(isUsual: approach == nil)
        do {
            let made = try await makeLive(thenResume: true, interval: interval)
            try await then(made, start)
        } catch let error as VMSyncError where error.code == .shutDown {
            // No failure: its disks are saved next.
            if let machine { guestDidShutDown(machine) }
        } catch {
            approach?.noteFailure()
            if !waitingCheckpoints.isEmpty {
                // From here on at the pace of an outage, until the server has what waits.
                sync.keepAt = .now + outageRest(after: .zero)
            }
            throw error
        }
    }

    private func outageRest(after took: Duration) -> Duration {
        OutagePace.rest(after: took, interval: .seconds(min(1, sync.policy.every ?? 1)))
    }

    /// The server is away, or nothing is to be sent: what was made stays here, one with all that waits, but for the oldest.
    private func keepHere(_ made: Made, since start: ContinuousClock.Instant) {
        do {
            try replica?.settleOutbox()
        } catch {
            logger.warning("no more checkpoints before the server has those that wait: \(error.message)")
        }
        do {
            // It may have to wait for long, and batteries run out.
            try replica?.syncOutbox()
        } catch {
            logger.error("what is kept here may not survive a loss of power: \(error.message)")
        }
        note(made, sending: [:])
        sync.keepAt = .now + outageRest(after: .now - start)
    }

    /// A checkpoint that was made of the running guest.
    private struct Made {
        let sealed: SealedCheckpoint
        let live: LiveCapture
        /// Milliseconds by name.
        let steps: [String: Double]
    }

    /// Takes what is new out of the guest and makes a pack of it. On failure the guest runs on.
    /// - Parameters:
    ///   - thenResume: false leaves the guest stopped.
    ///   - interval: seconds since the last one, usually.
    private func makeLive(thenResume: Bool, interval: Double, isDirect: Bool = false) async throws -> Made {
        guard let machine, let replica else { throw VMSyncError(.wrongState, "the VM doesn't run here") }
        try await awaitBaseReads()
        let isCurrent = trackerIsCurrent
        trackerIsCurrent = false
        if !isCurrent { checkTracker() }
        var live = try await replica.captureLive(
            of: machine, tracker: tracker, trackerIsCurrent: isCurrent, thenResume: thenResume)
        if !thenResume {
            machineState = .held
            // It may be sent for long, and runs nowhere meanwhile.
            publish()
        }
        replica.planCompression(
            link: isDirect ? nil : sync.up.goodput, interval: interval,
            isAwaited: !thenResume || approach != nil || isDirect)
        var watch = Stopwatch()
        let sealed = try await replica.sealLive(
            &live, of: machine, header: try header(.live), thenResume: thenResume)
        trackerIsCurrent = tracker != nil
        watch.lap("encode")
        sync.making.note((live.pause.length + (watch.steps["encode"] ?? 0)) / 1000)
        let guess = sync.unsent.written
        logger.debug(
            "checkpoint \(sealed.sequence) is made",
            metadata: [
                "bytes": "\(sealed.packBytes)", "guess": "\(Int(guess?.mean ?? 0))", "high": "\(Int(guess?.high ?? 0))",
            ])
        sync.notePack(sealed.packBytes)
        return Made(sealed: sealed, live: live, steps: live.pause.parts.merging(watch.steps) { $1 })
    }

    /// A tracker that failed is done without: all memory is compared then.
    private func checkTracker() {
        do {
            try tracker?.arm()
        } catch {
            tracker = nil
            trackingProblem = error.message
            logger.warning("comparing all memory at each checkpoint from here on: \(error.message)")
        }
    }

    func header(_ kind: Manifest.Kind) throws -> CheckpointHeader {
        guard let replica, let tenure else { throw VMSyncError(.bug, "a checkpoint without a tenure") }
        return CheckpointHeader(
            kind: kind, epoch: tenure.epoch, device: environment.me.id, created: Date().timeIntervalSince1970,
            qemu: machine?.version ?? replica.record.qemu ?? "",
            accelerator: environment.capabilities.emulators[description.machine.architecture.rawValue]?.accelerator
                .rawValue)
    }

    // MARK: Upload

    /// Sends the oldest checkpoint of the outbox, after a restart or when the server was away.
    func upload() async throws {
        if !handovers.isEmpty {
            mergeWhatWaits()
            // It may be for long that only two devices have it.
            try replica?.syncOutbox()
            try await tellHandovers()
        }
        guard let sealed = waitingCheckpoints.first else { return }
        // The last one under a tenure decides what becomes of the lease too.
        if sealed.sequence == tenure?.departure?.sequence { return try await settleDeparture() }
        // After a reboot what was believed may be lost.
        if chain.point?.sequence ?? .base != sealed.parent { try await followStatements(to: sealed.parent) }
        try await upload(sealed, made: nil)
        if waitingCheckpoints.isEmpty { sync.makeDue() }
    }

    private func upload(_ sealed: SealedCheckpoint, made: Made?) async throws {
        publish()
        var watch = Stopwatch()
        try await commit(sealed, then: .keep)
        watch.lap("send")
        if let made { note(made, sending: watch.steps) }
    }

    private func commit(_ sealed: SealedCheckpoint, then: AfterCommit) async throws {
        try syncTenure()
        try Fault.point(then == .keep ? "before-commit" : "before-departure-commit")
        let outgoing = try outgoing(sealed, then: then)
        if !chain.canTake(outgoing.signed, account.roster) {
            try await account.refresh()
            // What no device would follow must not become the head.
            var copy = chain
            try copy.take(outgoing.signed, account.roster)
        }
        // What is said must be what the pack is: no replica could apply another.
        guard outgoing.said.sequence == sealed.sequence, outgoing.said.parent?.sequence ?? .base == sealed.parent else {
            throw VMSyncError(.bug, "checkpoint \(sealed.sequence) doesn't follow the one that the chain stands at")
        }
        let offer = try CommitOffer(outgoing.signed, then: then)
        let start = ContinuousClock.now
        let isShared = then == .keep && approach == nil
        let head = try await send(offer, outgoing.path, sealed.packBytes, isShared: isShared)
        let took = (ContinuousClock.now - start).seconds
        sync.up.note(bytes: sealed.packBytes, seconds: took)
        logger.debug(
            "checkpoint \(sealed.sequence) is saved", metadata: ["bytes": "\(sealed.packBytes)", "seconds": "\(took)"])
        environment.conditions.saveTraffic()
        try Fault.point(then == .keep ? "after-commit" : "departure-committed")
        try await noteCommitted(head, outgoing)
        noteForHistory(sealed)
        replica?.acknowledge(head.sequence)
        noteHead(head)
    }

    /// Sends a pack, and meanwhile brings `status` up to date: over a slow link this takes minutes, in which a person wants to
    /// know what a switch would take.
    /// - Parameter isShared: whether devices in the same house get it at once.
    private func send(
        _ offer: CommitOffer, _ path: String, _ bytes: Int, isShared: Bool
    ) async throws -> CheckpointRecord {
        let sending = Task { [id, client = environment.client] in
            try await client.commit(offer, to: id, pack: .file(path: path))
        }
        uploading = sending
        sync.beginSending(bytes, meter: environment.conditions.moved)
        let news = WakeSignal()
        self.news = news
        let telling = Task {
            while true {
                await news.wait(until: .now + Self.telling)
                if Task.isCancelled { break }
                decide()
                await holdIfOutrun()
                publish()
            }
        }
        let sharing = Task { if isShared { await share(bytes) } }
        let sent = await withTaskCancellationHandler {
            await sending.result
        } onCancel: {
            sending.cancel()
        }
        // They come back to this actor, whose thread may end next.
        for task in [telling, sharing] {
            task.cancel()
            await task.value
        }
        sync.endSending()
        uploading = nil
        self.news = nil
        if case .failure = sent { await letGoOn() }
        return try sent.get()
    }

    /// The server's history has come as far as this one, which waits here, or has gone on without it.
    ///
    /// Order: the replica is marked → the checkpoint leaves the outbox. The other way round a kill between the two would
    /// leave a replica that passes for the server's checkpoint of the same number.
    func drop(_ sequence: Sequence) async throws {
        guard let replica, waitingCheckpoints.contains(where: { $0.sequence == sequence }) else { return }
        // What two devices have the holder may have sent in one with what came after it.
        let head = record.head?.sequence ?? .base
        let reached = waitingCheckpoints.reversed().drop { $0.sequence > max(head, sequence) }
        for later in reached where try await isOurs(later) {
            if chain.point?.sequence ?? .base < later.sequence { try await followStatements(to: later.sequence) }
            for known in waitingCheckpoints where known.sequence <= later.sequence {
                replica.acknowledge(known.sequence)
            }
            return
        }
        try await keepLateWork()
    }

    // MARK: Directly to another device

    /// A checkpoint of the running guest that isn't sent to the server.
    func makeRound() async throws -> SealedCheckpoint {
        let made = try await makeLive(thenResume: true, interval: sync.interval, isDirect: true)
        note(made, sending: [:])
        return made.sealed
    }

    /// The last one here, which leaves the guest stopped.
    /// - Returns: it, and what its parts took.
    func makeLast() async throws -> (sealed: SealedCheckpoint, steps: [String: Double]) {
        let made = try await makeLive(thenResume: false, interval: sync.interval, isDirect: true)
        note(made, sending: [:])
        return (made.sealed, report(of: made))
    }

    // MARK: The last checkpoint

    func handOver(_ pending: SwitchID) async throws {
        do {
            try await depart(then: .move(pending))
        } catch {
            // If the lease has moved already, this is refused, and the record will say so.
            _ = try? await environment.client.answer(
                .fail(try encrypted(Reason(VMSyncError(error)), of: pending)), to: pending, of: id)
            throw error
        }
    }

    /// Tells who asked for a switch what must happen first.
    func failHandOver(_ pending: SwitchID) async throws {
        let reason = VMSyncError(
            .machine, "\(name) has crashed there, so it can't move while it runs",
            hint: "vmsync start \(name), on \(environment.me.name)", device: environment.me.name)
        adopt(
            try await environment.client.answer(
                .fail(try encrypted(Reason(reason), of: pending)), to: pending, of: id))
        try await refreshRecord()
    }

    /// Saves the VM and stops it here; it goes on from there on any device.
    func suspend() async throws { try await depart(then: .release) }

    /// Saves the disks of a guest that has shut itself down. Its QEMU stays until the server has them: a restarted daemon
    /// knows by it that the guest went in good order.
    func sealOff() async throws {
        guard let replica else { return }
        let then = openColdSwitch.map(AfterCommit.move) ?? .release
        try noteDeparture(replica.record.sequence.next, then: then, isOff: true)
        try Fault.point("guest-off")
        let header = try header(.off)
        let sealed = try replica.seal(try replica.captureDisks(), deviceState: [], header: header)
        try Fault.point("off-sealed")
        try await commitLast(sealed, then: then)
        try await departed()
    }

    /// The last checkpoint here. From the pause on the guest stays stopped until the server has said where the VM is:
    /// if no answer comes, `settleDeparture` asks again, and it runs on only when it is sure to be ours.
    private func depart(then: AfterCommit) async throws {
        guard let replica else { return }
        try noteDeparture(replica.record.sequence.next, then: then)
        let made: Made
        do {
            made = try await makeLive(thenResume: false, interval: sync.interval)
        } catch {
            // Nothing was sent: the lease is ours as before.
            try saveTenure(tenure?.departing(nil))
            if machineState == .held {
                try await machine?.resume()
                machineState = .running
            }
            await letGoOn()
            throw error
        }
        try Fault.point("departure-sealed")
        // A switch waits for nothing; of one who puts the VM away this is what he saw last.
        let drawing = then == .release ? drawScreen() : nil
        var watch = Stopwatch()
        do {
            try await commitLast(made.sealed, then: then)
        } catch let error as VMSyncError where error.code == .unavailable || error.code == .cancelled {
            throw error
        } catch {
            try await settleDeparture()
            throw error
        }
        watch.lap("send")
        note(made, sending: watch.steps)
        if case .move(let pending) = then { await reportDeparture(pending, made, sending: watch.steps) }
        if let drawing {
            send(drawing, of: made.sealed.sequence)
            // What it is drawn of ends now.
            _ = try? await drawing.value
        }
        try await departed()
    }

    /// Sends the last checkpoint under this tenure, and first what waits before it: commits are taken in order.
    private func commitLast(_ sealed: SealedCheckpoint, then: AfterCommit) async throws {
        try await tellHandovers()
        let head = record.head?.sequence ?? .base
        for earlier in waitingCheckpoints where earlier.sequence < sealed.sequence {
            if earlier.sequence <= head {
                try await drop(earlier.sequence)
            } else {
                try await commit(earlier, then: .keep)
            }
        }
        try await commit(sealed, then: then)
    }

    private func noteDeparture(_ sequence: Sequence, then: AfterCommit, isOff: Bool = false) throws {
        guard let tenure else { throw VMSyncError(.bug, "a departure without a tenure") }
        let departure = Tenure.Departure(sequence: sequence, then: then, isOff: isOff)
        try saveTenure(tenure.departing(departure))
    }

    private func reportDeparture(_ pending: SwitchID, _ made: Made, sending: [String: Double]) async {
        let report = report(of: made).merging(sending) { $1 }
        _ = try? await environment.client.answer(.report(report), to: pending, of: id)
    }

    private func report(of made: Made) -> [String: Double] {
        var report = made.steps
        report["pack_bytes"] = Double(made.sealed.packBytes)
        // The same moment by the clock that the target may share.
        let since = Date().timeIntervalSince1970 * 1000 - min(made.live.pause.start, heldSince ?? .infinity)
        report["stopped_at"] = HostClock.milliseconds - since
        report["source_clock"] = HostClock.tag(bootID: environment.bootID)
        return report
    }

    /// The lease is elsewhere: what is left here is a standby.
    private func departed() async throws {
        await discardMachine()
        try saveTenure(nil)
        try await refreshRecord()
    }

    /// Asks the server where the VM is after a departure whose answer was lost, and does what follows from it.
    func settleDeparture() async throws {
        guard let tenure, let departure = tenure.departure else {
            return try await goOnHere()
        }
        if departure.kind == .direct, let id = departure.switchID { return try await settleHandover(id) }
        try await refreshRecord()
        let sealed = waitingCheckpoints.first { $0.sequence == departure.sequence }
        let settlement = departure.settlement(
            holdsLease: record.holder == environment.me.id && record.epoch == tenure.epoch,
            lastSwitch: record.lastSwitch, isSealed: sealed != nil, replica: replica?.record.sequence ?? .base,
            hasGuest: machine != nil, isShutDown: machineState == .shutDown)
        switch settlement {
        case .stepBack:
            if let head = record.head, head.sequence >= departure.sequence { try await drop(departure.sequence) }
            try await departed()
        case .keepLateWork: try await stepDown()
        case .commitAgain:
            guard let sealed else { return }
            try await commitLast(sealed, then: departure.then)
            try await departed()
        case .sealOff: try await sealOff()
        case .failThenGoOn(let pending):
            let reason = Reason(VMSyncError(.machine, "the source was interrupted"))
            _ = try await environment.client.answer(
                .fail(try encrypted(reason, of: pending)), to: pending, of: id)
            try await goOnHere()
        case .goOn: try await goOnHere()
        }
    }

    func goOnHere() async throws {
        if let tenure { try saveTenure(tenure.departing(nil)) }
        sync.makeDue()
        // It can't run on; what its disks hold is saved next.
        if machineState == .shutDown { return }
        guard let machine else {
            // Paused since its last checkpoint was sealed, QEMU ended: the replica is whole, and can be started from.
            machineState = .died
            return
        }
        try await machine.resume()
        machineState = .running
        wakeGuest(pullsCable: false)
    }

    private func note(_ made: Made, sending: [String: Double]) {
        if metrics.count >= Self.metricsKept { metrics.removeFirst(metrics.count - Self.metricsKept + 1) }
        metrics.append(
            CheckpointMetrics(
                sequence: made.sealed.sequence, pauseMilliseconds: made.live.pause.length,
                packBytes: made.sealed.packBytes, units: made.sealed.units, dirtyPages: made.live.capture.pages,
                steps: made.steps.merging(sending) { $1 }))
    }
}
