import Crypto
import Foundation
import Logging
import NIOCore
import Synchronization
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica

/// Being active: checkpoints, their upload, and the last one, with which the lease goes elsewhere.
extension VMHost {
    /// One checkpoint of the running guest: paused as shortly as possible, encoded when it runs again.
    func checkpoint() async throws {
        nextCheckpoint = .now + environment.checkpointInterval
        var watch = Stopwatch()
        let captured = try await pauseAndCapture(&watch, thenResume: true)
        let sealed = try seal(captured, kind: .live, &watch)
        try await upload(sealed, steps: watch.steps, captured: captured)
    }

    /// What came out of a pause.
    private struct Captured {
        let capture: Capture
        let state: [UInt8]
        /// From the order to stop until the guest ran again, or until all was captured; milliseconds.
        let pause: Double
    }

    /// Stops the guest and takes out of it what is new. On failure it runs again.
    private func pauseAndCapture(
        _ watch: inout Stopwatch, thenResume: Bool
    ) async throws -> Captured {
        guard let machine, let replica else { throw VMSyncError(.wrongState, "the VM doesn't run here") }
        try Fault.point("before-pause")
        watch.skip()
        let start = ContinuousClock.now
        try await machine.pause()
        watch.lap("stop")
        do {
            try Fault.point(thenResume ? "paused" : "departure-paused")
            async let saving = machine.saveDeviceState()
            let isCurrent = trackerIsCurrent
            if !isCurrent { try tracker?.arm() }
            trackerIsCurrent = false
            let capture = try replica.capture(tracker: isCurrent ? tracker : nil)
            watch.skip()
            watch.set("scan", capture.scan)
            watch.set("copy", capture.copy)
            let state: ByteBuffer
            do {
                state = try await saving
                watch.lap("device_state")
                try Fault.point(thenResume ? "captured" : "departure-captured")
                if thenResume {
                    try await machine.resume()
                    watch.lap("continue")
                }
            } catch {
                capture.release()
                throw error
            }
            let pause = (ContinuousClock.now - start).milliseconds
            return Captured(capture: capture, state: Array(buffer: state), pause: pause)
        } catch {
            // A QEMU that died can't continue; its end is noted elsewhere.
            try? await machine.resume()
            throw error
        }
    }

    private func seal(
        _ captured: Captured, kind: Manifest.Kind, _ watch: inout Stopwatch
    ) throws -> SealedCheckpoint {
        guard let replica, let tenure else { throw VMSyncError(.bug, "a checkpoint without a tenure") }
        let header = CheckpointHeader(
            kind: kind, epoch: tenure.epoch, device: environment.me.id, created: Date().timeIntervalSince1970,
            qemu: machine?.version ?? replica.record.qemu ?? "")
        watch.skip()
        let sealed = try replica.seal(captured.capture, deviceState: captured.state, header: header)
        trackerIsCurrent = tracker != nil
        watch.lap("encode")
        return sealed
    }

    // MARK: Upload

    /// Sends the oldest checkpoint of the outbox, after a restart or when the server was away.
    func upload() async throws {
        guard let sealed = waitingCheckpoints.first else { return }
        // The last one under a tenure decides what becomes of the lease too.
        if sealed.sequence == tenure?.departure?.sequence { return try await settleDeparture() }
        try await upload(sealed, steps: [:], captured: nil)
    }

    private func upload(
        _ sealed: SealedCheckpoint, steps: [String: Double], captured: Captured?
    ) async throws {
        publish()
        var watch = Stopwatch()
        try await commit(sealed, then: .keep)
        watch.lap("send")
        if let captured { note(sealed, captured, steps: steps.merging(watch.steps) { $1 }) }
    }

    private func commit(_ sealed: SealedCheckpoint, then: AfterCommit) async throws {
        try Fault.point(then == .keep ? "before-commit" : "before-departure-commit")
        let offer = CommitOffer(
            epoch: sealed.epoch, sequence: sealed.sequence, kind: sealed.kind == .live ? .live : .off,
            size: UInt64(sealed.packBytes), checksum: try ContentHash(ofFile: sealed.packPath),
            digest: sealed.digest.description, then: then)
        let source = try packSource(sealed)
        let head = try await environment.client.commit(offer, to: id, pack: source)
        try Fault.point(then == .keep ? "after-commit" : "departure-committed")
        replica?.acknowledge(head.sequence)
        noteHead(head)
    }

    /// A small pack goes from memory, in one piece with its headers.
    private func packSource(_ sealed: SealedCheckpoint) throws -> PackSource {
        guard sealed.packBytes <= 4 << 20 else { return .file(path: sealed.packPath) }
        return try MappedFile.with(sealed.packPath) { bytes throws(VMSyncError) in .bytes(ByteBuffer(bytes: bytes)) }
    }

    // MARK: The last checkpoint

    func handOver(_ pending: SwitchID) async throws {
        do {
            try await depart(kind: .live, then: .move(pending))
        } catch {
            let reason = Reason(VMSyncError(error))
            // If the lease has moved already, this is refused, and the record will say so.
            _ = try? await environment.client.answer(.fail(reason), to: pending, of: id)
            throw error
        }
    }

    /// Tells who asked for a switch what must happen first.
    func failHandOver(_ pending: SwitchID) async throws {
        let reason = VMSyncError(
            .machine, "\(record.name) has crashed there, so it can't move while it runs",
            hint: "vmsync start \(record.name), on \(environment.me.name)", device: environment.me.name)
        adopt(try await environment.client.answer(.fail(Reason(reason)), to: pending, of: id))
        try await refreshRecord()
    }

    /// Saves the VM and stops it here; it goes on from there on any device.
    func suspend() async throws { try await depart(kind: .live, then: .release) }

    /// Saves the disks of a guest that has shut itself down. Its QEMU stays until the server has them: a restarted daemon
    /// knows by it that the guest went in good order.
    func sealOff() async throws {
        guard let replica else { return }
        var watch = Stopwatch()
        try noteDeparture(replica.record.sequence.next, then: .release, isOff: true)
        try Fault.point("guest-off")
        let capture = Captured(capture: try replica.captureDisks(), state: [], pause: 0)
        let sealed = try seal(capture, kind: .off, &watch)
        try Fault.point("off-sealed")
        try await commitLast(sealed, then: .release)
        try await departed()
    }

    /// The last checkpoint here. From the pause on the guest stays stopped until the server has said where the VM is:
    /// if no answer comes, `settleDeparture` asks again, and it runs on only when it is sure to be ours.
    private func depart(kind: Manifest.Kind, then: AfterCommit) async throws {
        guard let replica else { return }
        var watch = Stopwatch()
        try noteDeparture(replica.record.sequence.next, then: then)
        let stoppedAt = HostClock.milliseconds
        let sealed: SealedCheckpoint
        let captured: Captured
        do {
            captured = try await pauseAndCapture(&watch, thenResume: false)
            machineState = .held
            sealed = try seal(captured, kind: kind, &watch)
        } catch {
            // Nothing was sent: the lease is ours as before.
            try saveTenure(tenure.map { Tenure(epoch: $0.epoch, departure: nil) })
            if machineState == .held {
                try await machine?.resume()
                machineState = .running
            }
            throw error
        }
        try Fault.point("departure-sealed")
        watch.skip()
        do {
            try await commitLast(sealed, then: then)
        } catch let error as VMSyncError where error.code == .unavailable || error.code == .cancelled {
            throw error
        } catch {
            try await settleDeparture()
            throw error
        }
        watch.lap("send")
        note(sealed, captured, steps: watch.steps)
        if case .move(let pending) = then {
            await reportDeparture(pending, sealed: sealed, steps: watch.steps, stoppedAt: stoppedAt)
        }
        try await departed()
    }

    /// Sends the last checkpoint under this tenure, and first what waits before it: commits are taken in order.
    private func commitLast(_ sealed: SealedCheckpoint, then: AfterCommit) async throws {
        let head = record.head?.sequence ?? .base
        for earlier in waitingCheckpoints where earlier.sequence < sealed.sequence {
            if earlier.sequence <= head {
                replica?.acknowledge(earlier.sequence)
            } else {
                try await commit(earlier, then: .keep)
            }
        }
        try await commit(sealed, then: then)
    }

    private func noteDeparture(_ sequence: Sequence, then: AfterCommit, isOff: Bool = false) throws {
        guard let tenure else { throw VMSyncError(.bug, "a departure without a tenure") }
        let departure = Tenure.Departure(sequence: sequence, then: then, isOff: isOff)
        try saveTenure(Tenure(epoch: tenure.epoch, departure: departure))
    }

    private func reportDeparture(
        _ pending: SwitchID, sealed: SealedCheckpoint, steps: [String: Double], stoppedAt: Double
    ) async {
        var report = steps
        report["pack_bytes"] = Double(sealed.packBytes)
        report["stopped_at"] = stoppedAt
        report["source_clock"] = HostClock.tag(bootID: environment.bootID)
        _ = try? await environment.client.answer(.report(report), to: pending, of: id)
    }

    /// The lease is elsewhere: what is left here is a standby.
    private func departed() async throws {
        await discardMachine()
        try saveTenure(nil)
        try await refreshRecord()
    }

    /// Asks the server where the VM is after a departure whose answer was lost.
    ///
    /// The guest goes on here only if the lease is ours *and* the commit that would move it can't come through any more:
    /// its switch has ended. While the switch is open the commit is simply sent again.
    func settleDeparture() async throws {
        guard let tenure, let departure = tenure.departure else {
            return try await goOnHere()
        }
        try await refreshRecord()
        guard record.holder == environment.me.id, record.epoch == tenure.epoch else {
            if let head = record.head, head.sequence >= departure.sequence { replica?.acknowledge(departure.sequence) }
            return try await departed()
        }
        let sealed = waitingCheckpoints.first { $0.sequence == departure.sequence }
        if case .move(let pending) = departure.then {
            let isOpen = record.lastSwitch.map { $0.id == pending && $0.state == .ready } ?? false
            if isOpen, let sealed {
                try await commitLast(sealed, then: departure.then)
                return try await departed()
            }
            if isOpen {
                let reason = Reason(VMSyncError(.machine, "the source was interrupted"))
                _ = try await environment.client.answer(.fail(reason), to: pending, of: id)
            }
        } else if let sealed {
            try await commitLast(sealed, then: .release)
            return try await departed()
        } else if machineState == .shutDown {
            return try await sealOff()
        }
        try await goOnHere()
    }

    private func goOnHere() async throws {
        if let tenure { try saveTenure(Tenure(epoch: tenure.epoch, departure: nil)) }
        nextCheckpoint = .now
        guard let machine else {
            // Paused since its last checkpoint was sealed, QEMU ended: the replica is whole, and can be started from.
            machineState = .died
            return
        }
        try await machine.resume()
        machineState = .running
    }

    private func note(_ sealed: SealedCheckpoint, _ captured: Captured, steps: [String: Double]) {
        if metrics.count >= Self.metricsKept { metrics.removeFirst(metrics.count - Self.metricsKept + 1) }
        metrics.append(
            CheckpointMetrics(
                sequence: sealed.sequence, pauseMilliseconds: captured.pause, packBytes: sealed.packBytes,
                units: sealed.units, dirtyPages: captured.capture.pages, steps: steps))
    }
}
