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
        if machineState == .running { look(policy) }
        let signals = gather()
        let decision = record.holder == me ? SyncDecision.next(policy, signals) : follow(policy, signals)
        if decision != sync.decision { logger.trace("\(decision)") }
        sync.decision = decision
        if case .wait(let seconds?) = decision.step {
            sync.nextLook = .now + .seconds(seconds)
        } else if machineState == .running {
            // A look is due though nothing else is.
            sync.nextLook = .now + SyncBook.leisurelyLook
        } else {
            // A cap may end at midnight.
            sync.nextLook = decision.step == .hold ? .now + Self.holdRest : nil
        }
        standing = standing(decision, policy, signals)
        tellStanding()
    }

    /// Looks at what the guest has written, if it was not done just now.
    private func look(_ policy: SyncPolicy) {
        guard let tracker, let replica, trackerIsCurrent, sync.isLookDue(policy) else { return }
        do {
            let look = try replica.look(tracker)
            sync.noteLook(look.bytes, hasChanged: look.hasChanged)
        } catch {
            logger.debug("what the guest has written can't be looked at: \(error.message)")
        }
    }

    private func gather() -> SyncSignals {
        var signals = environment.conditions.signals(sync.forecast)
        signals.sinceLast = sync.sinceLast
        signals.event = sync.event
        let waiting = waitingCheckpoints
        signals.unsent.waiting = Double(waiting.reduce(0) { $0 + $1.packBytes })
        signals.unsent.nextPack = waiting.first.map { UInt64($0.packBytes) }
        if machineState == .running {
            // Without a tracker, or before it is armed, nobody can say.
            signals.unsent.hasChanged = sync.hasChanged ?? true
            signals.unsent.written = trackerIsCurrent ? sync.unsent.written : nil
            signals.unsent.growth = sync.unsent.growthPerSecond
        } else {
            signals.unsent.hasChanged = false
        }
        return signals
    }

    // MARK: What follows from it

    /// Whether a person waits for what is sent or fetched: then no restraint counts.
    private var isAwaited: Bool {
        if approach != nil || !requests.isEmpty || tenure?.departure != nil { return true }
        guard let pending = record.lastSwitch, pending.to == me else { return false }
        return [.requested, .ready, .moved].contains(pending.state)
    }

    /// Whether nothing is to be sent, or fetched.
    var isHeldBack: Bool {
        if isAwaited { return false }
        return record.holder == me ? sync.decision.step == .hold : sync.decision.step != .checkpoint
    }

    var checkpointIsDue: Bool {
        if isAwaited { return (sync.sinceLast ?? .infinity) >= awaitedPause && !(approach?.isShortOfTime ?? false) }
        if isHeldBack || serverTakesNothing { return sync.keepAt <= .now }
        return sync.decision.step == .checkpoint
    }

    /// Between checkpoints while somebody waits for a switch whose target isn't ready.
    private var awaitedPause: Double { min(1, effectivePolicy.policy.every ?? 1) }

    /// Whether the last attempt to send something failed for want of a server, or of space on it.
    var serverTakesNothing: Bool { problem.map { Self.serversFault.contains($0.code) } ?? false }

    /// Whether a cap leaves room for a pack of so many bytes, or somebody waits for it.
    func mayTransfer(_ bytes: Int) -> Bool {
        isAwaited || SyncDecision.mayTransfer(UInt64(bytes), effectivePolicy.policy, gather())
    }

    /// Of a switch from here: whether there is time for another round before the last checkpoint.
    func noteTimeLeft() {
        guard approach != nil, let promise = effectivePolicy.policy.switchWithin, let since = approachSince else {
            return
        }
        let left = promise - (.now - since).seconds
        let unsent = gather().unsent
        let round = sync.up.link.seconds(for: unsent.all.high).high
        // What the guest writes meanwhile is what the last one carries.
        let last = sync.forecast.seconds(unsent: Estimate(unsent.growth.high * round)).high
        approach?.isShortOfTime = round + last > left
    }

    // MARK: On a standby

    /// Whether a pack of the way to the head may be fetched now; only when the way is planned its size is known.
    func mayFetch(_ pack: PackID) -> Bool {
        if record.holder == me { return true }
        let size = itinerary.first { $0.id == pack }?.size ?? 0
        guard !mayTransfer(Int(size)) else { return true }
        decide()
        return false
    }

    private func follow(_ policy: SyncPolicy, _ signals: SyncSignals) -> SyncDecision {
        guard let head = record.head, let replica, head.sequence > replica.record.sequence else {
            return SyncDecision(step: .checkpoint, reason: .time(0))
        }
        let next = itinerary.first { $0.id.first == replica.record.sequence }?.size ?? head.size
        let interval = sync.interval(policy)
        let share = interval > 0 ? sync.down.link.seconds(for: Double(head.size)).mean / interval : 0
        return SyncDecision.follow(
            policy, signals,
            .init(
                nextPack: next, sinceLast: sync.lastFetch.map { (.now - $0).seconds },
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
