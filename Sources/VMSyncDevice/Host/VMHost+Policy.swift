import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy

/// When this VM is synced: signals are gathered, `SyncDecision` decides, and the one task follows. (docs/policy.md)
extension VMHost {
    /// The settings that hold for this VM on this device.
    var effectivePolicy: EffectivePolicy {
        EffectivePolicy([
            (.vm, policyLayer), (.device, environment.conditions.deviceLayer),
            (.commandLine, environment.conditions.commandLine),
        ])
    }

    /// What is set for the VM on all devices.
    var policyLayer: PolicyLayer {
        if storedPolicy.bytes != record.policy {
            let json = record.policy.flatMap { try? account.decrypt($0, .policy(id), of: .vm(id)) }
            let layer = json.flatMap { try? JSONDecoder().decode(PolicyLayer.self, from: Data($0)) }
            if record.policy != nil, layer == nil { logger.warning("what is set for this VM can't be read here") }
            storedPolicy = (record.policy, layer ?? PolicyLayer())
        }
        return storedPolicy.layer
    }

    /// Sets what holds for the VM on all devices.
    package func setPolicy(_ layer: PolicyLayer) async throws {
        let json = try JSONEncoder().encode(layer)
        let bytes = layer.isEmpty ? nil : Data(try account.encrypt(json, .policy(id), of: .vm(id)))
        try await environment.client.setPolicy(bytes, of: id)
        try await refreshRecord()
        wake.signal()
    }

    /// How often a standby asks again whether it may go on.
    private static let holdRest = Duration.seconds(60)

    /// Brings the decision up to date; part of the one task.
    func decide() {
        let policy = effectivePolicy.policy
        sync.policy = policy
        if machineState == .running { look() }
        let signals = gather()
        let decision = record.holder == me ? SyncDecision.next(policy, signals) : follow(policy, signals)
        if decision != sync.decision { logger.trace("\(decision)") }
        sync.decision = decision
        sync.capReason = SyncDecision.capReason(policy, signals, next: nextPack(signals))
        if case .wait(let seconds?) = decision.step {
            sync.nextLook = .now + .seconds(seconds)
        } else if machineState == .running {
            // A look is due though nothing else is.
            sync.nextLook = .now + SyncBook.leisurelyLook
        } else {
            // A cap may end at midnight.
            sync.nextLook = decision.step == .hold ? .now + Self.holdRest : nil
        }
        noteBaseRule()
        if let look = watchForFailover(policy) { sync.nextLook = min(sync.nextLook ?? look, look) }
        standing = standing(decision, policy, signals)
        tellStanding()
    }

    /// Looks at what the guest has written, if it was not done just now.
    private func look() {
        guard let tracker, let replica, trackerIsCurrent, sync.isLookDue else { return }
        do {
            let look = try replica.look(tracker)
            sync.noteLook(look.bytes, hasChanged: look.hasChanged)
        } catch {
            logger.debug("what the guest has written can't be looked at: \(error.message)")
        }
    }

    func gather() -> SyncSignals {
        sync.noteMoved(environment.conditions.moved)
        var signals = environment.conditions.signals(sync.forecast)
        signals.sinceLast = sync.sinceLast
        signals.event = sync.event
        let waiting = waitingCheckpoints
        signals.unsent.waiting = Double(max(0, waiting.reduce(0) { $0 + $1.packBytes } - sync.gone))
        signals.unsent.nextPack = waiting.first.map { UInt64($0.packBytes) }
        if machineState == .running {
            // Without a tracker, or before it is armed, nobody can say.
            signals.unsent.hasChanged = sync.hasChanged ?? true
            signals.unsent.written = trackerIsCurrent ? sync.unsent.written : nil
            signals.unsent.growth = sync.unsent.growthPerSecond
            signals.unsent.burst = sync.unsent.burst
        } else {
            signals.unsent.hasChanged = false
        }
        return signals
    }

    /// Bytes of the pack that would be sent or fetched next, where that is known.
    private func nextPack(_ signals: SyncSignals) -> UInt64? {
        if record.holder == me { return signals.unsent.nextPack }
        guard let head = record.head, let replica, head.sequence > replica.record.sequence else { return nil }
        return itinerary.first { $0.id.first == replica.record.sequence }?.size
            ?? (head.basis == replica.record.sequence ? head.size : nil)
    }

    // MARK: What follows from it

    /// Whether a person waits for what is sent or fetched: then no restraint counts.
    var isAwaited: Bool {
        // Also for a guest that has shut itself down: its person may go on elsewhere.
        if approach != nil || !requests.isEmpty || tenure?.departure != nil || machineState == .shutDown { return true }
        return record.lastSwitch?.isComing(to: me) ?? false
    }

    /// Whether nothing is to be sent, or fetched.
    var isHeldBack: Bool {
        if isAwaited { return sync.capReason != nil }
        return record.holder == me ? sync.decision.step == .hold : sync.decision.step != .checkpoint
    }

    var checkpointIsDue: Bool {
        if isAwaited { return (sync.sinceLast ?? .infinity) >= awaitedPause && !(approach?.isShortOfTime ?? false) }
        if isHeldBack || serverTakesNothing { return sync.keepAt <= .now }
        return sync.decision.step == .checkpoint
    }

    /// Between checkpoints while somebody waits for a switch whose target isn't ready.
    private var awaitedPause: Double { min(1, sync.policy.every ?? 1) }

    /// Whether the last attempt to send something failed for want of a server, or of space on it.
    var serverTakesNothing: Bool { problem.map { Self.serversFault.contains($0.code) } ?? false }

    /// Whether the caps leave room for a pack of so many bytes.
    func mayTransfer(_ bytes: Int) -> Bool {
        SyncDecision.capReason(sync.policy, gather(), next: UInt64(bytes)) == nil
    }

    /// Bytes that may be spent on what only spares others some: a tenth of what a cap leaves.
    var bytesForOthers: Double {
        let cap = CapStanding.tightest(
            sync.policy, environment.conditions.used, isMetered: environment.conditions.host.isMetered)
        return cap.map { Double($0.left) / 10 } ?? .infinity
    }

    /// Why this device sends and fetches nothing, whoever waits for it.
    var capProblem: VMSyncError? {
        sync.capReason.map {
            VMSyncError(
                .wrongState, "\(environment.me.name) sends and fetches nothing: \($0.words)",
                hint: "vmsync policy set --cap-day off --cap-month off, on \(environment.me.name)",
                device: environment.me.name)
        }
    }

    /// Of a switch from here: whether there is time for another round before the last checkpoint, and whether it would help.
    func noteOutlook() {
        guard approach != nil else { return }
        let signals = gather()
        let (up, unsent) = (signals.forecast.up, signals.unsent)
        let round = up.seconds(for: unsent.all.mean).mean
        approach?.noteNextRound(round, after: up.seconds(for: unsent.growth.mean * round).mean)
        guard let promise = sync.policy.switchWithin, let since = approachSince else { return }
        approach?.noteTime(left: promise - (.now - since).seconds, signals.forecast, signals.unsent)
    }

    // MARK: What happens around it

    /// Something has happened after which people change devices.
    func note(_ occasion: Occasion) {
        sync.note(occasion)
        // What was learned of the links was learned elsewhere.
        if occasion == .placeChanged { (sync.up, sync.down) = (TransferModel(), TransferModel()) }
        wake.signal()
    }

    /// The host is about to stop: has the guest saved here, whatever the server does, and returns when it is.
    func keepNow() async {
        guard machineState == .running else { return }
        do { try await ask(.keepNow) } catch { logger.error("not saved: \(VMSyncError(error).message)") }
    }

    /// The host has slept: the guest's clock has stood still with it.
    func hostWoke(after slept: Duration) {
        guard machineState == .running, slept > .zero else { return }
        wakeGuest(pullsCable: false)
        wake.signal()
    }

    // MARK: On a standby

    /// Whether a pack of the way to the head may be fetched now; only when the way is planned its size is known.
    func mayFetch(_ pack: PackID) -> Bool {
        if record.holder == me { return true }
        let size = itinerary.first { $0.id == pack }?.size ?? 0
        guard !mayTransfer(Int(size)) else { return true }
        decide()
        if let capProblem { failRequests(capProblem) }
        return false
    }

    private func follow(_ policy: SyncPolicy, _ signals: SyncSignals) -> SyncDecision {
        guard let replica else {
            let reason = SyncDecision.reasonAgainstBase(
                policy, signals, part: UInt64(APILimits.chunkBytesMax), isAwaited: false)
            return SyncDecision(step: reason == nil ? .checkpoint : .hold, reason: reason ?? .time(0))
        }
        guard let head = record.head, head.sequence > replica.record.sequence else {
            return SyncDecision(step: .checkpoint, reason: .time(0))
        }
        let interval = sync.interval
        let share = interval > 0 ? sync.down.link.seconds(for: Double(head.size)).mean / interval : 0
        return SyncDecision.follow(
            policy, signals,
            .init(
                nextPack: nextPack(signals) ?? 0, sinceLast: sync.lastFetch.map { (.now - $0).seconds },
                behind: head.sequence.rawValue - replica.record.sequence.rawValue, share: share))
    }

    private func standing(_ decision: SyncDecision, _ policy: SyncPolicy, _ signals: SyncSignals) -> SyncStanding? {
        if record.holder == me {
            return machineState == .running ? SyncStanding(decision, policy, signals) : nil
        }
        guard record.head != nil else { return nil }
        let here = replica?.record.sequence ?? .base
        let left = itinerary.filter { $0.id.first >= here }.reduce(0) { $0 + $1.size }
        let head = record.head.map { $0.sequence > here ? $0.size : 0 } ?? 0
        return SyncStanding(following: decision, behind: max(left, head), used: signals.used)
    }
}
