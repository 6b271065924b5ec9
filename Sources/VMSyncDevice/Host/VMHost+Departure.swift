import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncMachine
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// Giving a VM to another device directly. (docs/protocol/direct.md)
extension VMHost {
    /// How long the server may take to say where it stands before it is done without: over a line that an upload has just filled it
    /// takes a second, for which a person would wait.
    private static let serverPatience = Duration.milliseconds(300)
    /// How long a grant is sent again before other things are looked after.
    private static let grantPatience = Duration.seconds(5)
    private static let grantRest = Duration.milliseconds(500)
    /// How long the other device may take to fetch what the server has, and how often it is asked.
    private static let followPatience = Duration.seconds(10)
    private static let followRest = Duration.milliseconds(50)

    /// Hands the running VM over to `peer`.
    /// - Returns: what the parts of it took.
    /// - Throws: any error, and the guest goes on here; but after the grant, when it isn't known where it is: `unavailable`.
    nonisolated func give(to peer: DirectLinks.Peer, as id: SwitchID) async throws -> [String: Double] {
        try await ask(.give(to: peer, id))
        return await handoverSteps
    }

    /// Whether somebody waits for that.
    var isGiveWanted: Bool { requests.contains(where: \.isGive) }

    /// What is on its way to the server the other device gets, and sends in our place; but for the last of a tenure.
    func breakOffUpload() {
        if tenure?.departure == nil { uploading?.cancel() }
    }

    /// Makes few of what waits; what is too large to be merged stays as it is.
    func mergeWhatWaits() {
        do { try replica?.settleOutbox() } catch { logger.warning("\(error.message)") }
    }

    /// Part of the one task.
    func handOver(to peer: DirectLinks.Peer, as id: SwitchID) async throws {
        guard machineState == .running, let replica, let tenure, tenure.departure == nil else {
            throw VMSyncError(.wrongState, "\(name) doesn't run here", device: environment.me.name)
        }
        if let capProblem { throw capProblem }
        guard handovers.hasRoom else {
            throw VMSyncError(
                .wrongState, "the server must hear of the last handovers first", hint: "vmsync sync \(name)")
        }
        await learnWhatTheServerHas()
        try checkIsOurs(tenure)
        mergeWhatWaits()
        try await push(to: peer, after: try await approachable(peer))
        var rounds = SwitchApproach(id)
        while rounds.next == .anotherRound {
            let start = ContinuousClock.now
            let sealed = try await makeRound()
            try await push(to: peer, after: sealed.parent)
            rounds.note(.now - start, sent: sealed.sequence)
            rounds.noteTarget(holds: sealed.sequence)
        }
        try await depart(to: peer, as: id, replica, tenure)
    }

    /// What it has already the other device needn't send, and the word must be after.
    private func learnWhatTheServerHas() async {
        guard serverAnswers else { return }
        let asking = Task { try await refreshRecord() }
        let limit = Task {
            try await Task.sleep(for: Self.serverPatience)
            asking.cancel()
        }
        _ = await asking.result
        limit.cancel()
        // It comes back to this actor, whose thread may end next.
        _ = await limit.result
        guard record.holder == me, record.epoch == tenure?.epoch else { return }
        let head = record.head?.sequence ?? .base
        for waiting in waitingCheckpoints where waiting.sequence <= head { try? await drop(waiting.sequence) }
    }

    /// - Throws: `fenced` if the VM was taken by force meanwhile.
    private func checkIsOurs(_ tenure: Tenure) throws(VMSyncError) {
        guard record.holder == me, record.epoch == tenure.epoch else {
            throw VMSyncError(.fenced, "\(name) went elsewhere", hint: "vmsync status \(name)")
        }
    }

    /// What the other device holds, once it has what the server has: that is on its way to it.
    private func approachable(_ peer: DirectLinks.Peer) async throws -> Sequence {
        let deadline = ContinuousClock.now + Self.followPatience
        while true {
            let standing = try await peer.client.directStanding(of: id)
            if let obstacle = standing.obstacle { throw obstacle.error }
            let oldest = waitingCheckpoints.first?.parent ?? replica?.record.sequence ?? .base
            if standing.held >= oldest || ContinuousClock.now > deadline { return standing.held }
            try await Task.sleep(for: Self.followRest)
        }
    }

    /// Sends all that waits here from the state that the other device holds on.
    func push(to peer: DirectLinks.Peer, after held: Sequence, isLast: Bool = false) async throws {
        let waiting = waitingCheckpoints
        let missing = waiting.drop { $0.sequence <= held }
        guard (missing.first?.parent ?? replica?.record.sequence) == held else {
            throw VMSyncError(
                .wrongState, "the other device holds checkpoint \(held), from which this one can't go on",
                hint: "vmsync sync \(name) there, then once more")
        }
        for next in missing {
            let pack = DirectPack(
                sequence: next.sequence, epoch: next.epoch, units: next.units, size: UInt64(next.packBytes))
            _ = try await peer.client.push(pack, from: .file(path: next.packPath), of: id, isLast: isLast)
            // Whatever comes now, it stands there.
            try replica?.changeOutbox { $0.noteStand(of: peer.device, at: next.sequence) }
        }
    }

    /// Order: the departure is noted → the guest stands still, and the other device has its last state → the grant is noted, and
    /// with it the VM is there → it is sent until it is answered.
    private func depart(
        to peer: DirectLinks.Peer, as id: SwitchID, _ replica: Replica, _ tenure: Tenure
    ) async throws {
        try saveTenure(tenure.departing(.init(sequence: replica.record.sequence.next, directly: id)), durable: true)
        let granted: Handovers
        do {
            let (sealed, steps) = try await makeLast()
            handoverSteps = steps
            var watch = Stopwatch()
            try Fault.point("direct-sealed")
            try await push(to: peer, after: sealed.parent, isLast: true)
            watch.lap("send")
            handoverSteps.merge(watch.steps) { $1 }
            try Fault.point("before-grant")
            try checkIsOurs(tenure)
            var given = handovers
            try given.add(
                Handover(
                    id: id, from: me, to: peer.device, epoch: tenure.epoch, sequence: sealed.sequence,
                    words: try words()))
            try saveHandovers(given)
            granted = given
        } catch {
            try await goOnHere()
            throw error
        }
        try Fault.point("grant-noted")
        try await deliver(granted, to: peer)
    }

    /// One after each checkpoint that the server may stand at.
    private func words() throws -> [Data] {
        try [chain.point, offered].compactMap(\.self).map { point in
            try Signed(Release(vm: id, device: me, after: point), by: account.keys).bytes
        }
    }

    /// The checkpoint that was sent, perhaps by an earlier daemon, and of which it isn't known whether the server has it.
    private var offered: ChainPoint? {
        guard let oldest = waitingCheckpoints.first, let signed = statement(of: oldest),
            let said = try? signed.read(), said.parent == chain.point
        else { return nil }
        return ChainPoint(sequence: oldest.sequence, hash: signed.hash)
    }

    /// Sends the grant until there is an answer.
    /// - Parameter granted: all that the server doesn't know, up to this one. The server may hear of it meanwhile.
    private func deliver(_ granted: Handovers, to peer: DirectLinks.Peer) async throws {
        let deadline = ContinuousClock.now + Self.grantPatience
        while true {
            var verdict: DirectVerdict?
            do { verdict = try await peer.client.grant(granted, of: id) } catch {
                // Whatever it is, it doesn't say where the VM is.
                logger.debug("no verdict: \(error)")
            }
            if let steps = verdict?.steps {
                try Fault.point("grant-answered")
                handoverSteps.merge(steps) { $1 }
                return try await handedOver(granted.last)
            }
            if let refusal = verdict?.refusal { return try await withdraw(granted, refusal) }
            guard ContinuousClock.now < deadline else { throw unanswered }
            try await Task.sleep(for: Self.grantRest)
        }
    }

    private var unanswered: VMSyncError {
        VMSyncError(
            .unavailable, "\(name) was handed over, and the other device doesn't say whether it runs there",
            hint: "it is asked again; if it is lost: vmsync switch \(name) --force")
    }

    /// The other device has said that it never had the VM, and by this grant never will.
    private func withdraw(_ granted: Handovers, _ refusal: Reason) async throws {
        // Somebody has taken it by force meanwhile.
        guard handovers.last == granted.last else { return try await handedOver(granted.last) }
        var kept = handovers
        kept.removeLast()
        try saveHandovers(kept)
        try await goOnHere()
        throw refusal.error
    }

    /// Whether the VM was given to another device, and the server knows nothing of it.
    var isGivenAway: Bool { serverLease.holder == me && record.holder != me }

    /// The lease under an epoch that the other device can't have reached.
    func takeLeaseBack() async throws -> Epoch {
        let (seen, epoch) = (serverLease.epoch, serverLease.epoch.afterForce)
        try await environment.client.report(HandoverReport(from: me, seen: seen, epoch: epoch, word: nil), of: id)
        return epoch
    }

    /// What waits here of the tenure that was ended by force is saved under the new epoch, if the server has it or nothing newer.
    /// - Parameter before: the epoch that was ended.
    func keepWhatIsHere(of before: Epoch) throws(VMSyncError) {
        let (waiting, head, epoch) = (waitingCheckpoints, record.head?.sequence ?? .base, record.epoch)
        guard isForced, head == chain.point?.sequence ?? .base || waiting.contains(where: { $0.sequence == head }),
            waiting.allSatisfy({ $0.epoch.leads(to: before) })
        else { return }
        try replica?.changeOutbox { $0.epoch = epoch }
    }

    /// A person has said that the other device is lost. The guest stands still here as it was given away: it goes on, and what
    /// the other one has done, if it has it, is late work there.
    private func takeBack() async throws {
        let epoch = record.epoch
        try replica?.changeOutbox { $0.epoch = epoch }
        var taken = Tenure(epoch: epoch, departure: tenure?.departure, isForced: true)
        taken.hasSent = tenure?.hasSent
        try saveTenure(taken, durable: true)
        try await goOnHere()
    }

    private func handedOver(_ grant: Handover?) async throws {
        if let grant, let replica { try shareOutbox(of: grant, replica) }
        // Whatever the server says from now on, under this epoch the VM doesn't run here again.
        if let tenure { try noteRelease(of: tenure.epoch) }
        await discardMachine()
        try saveTenure(nil)
        try? await refreshRecord()
    }

    /// A handover whose end this device doesn't know, such as after a restart.
    func settleHandover(_ pending: SwitchID) async throws {
        if record.holder == me, record.epoch == tenure?.epoch, !handovers.knows(pending) {
            // It was never noted, so that nobody has got it.
            return try await goOnHere()
        }
        if let grant = handovers.last, grant.id == pending {
            guard let (peer, _) = await environment.links.peer(grant.to, for: id) else { throw unanswered }
            guard handovers.last == grant else { return try await handedOver(grant) }
            return try await deliver(handovers, to: peer)
        }
        if let sequence = tenure?.departure?.sequence, replica?.record.sequence ?? .base < sequence {
            // Somebody has taken it by force before its last state was sealed.
            return try await stepDown()
        }
        if record.holder == me, isForced, machineState == .held, record.head?.sequence == chain.point?.sequence {
            return try await takeBack()
        }
        // The server has heard of it, or somebody has taken the VM by force.
        try await handedOver(handovers.former.last { $0.id == pending })
    }
}
