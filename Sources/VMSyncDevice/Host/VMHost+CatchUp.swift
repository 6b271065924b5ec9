import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncReplica

/// Planning the way to the head, asking for a better one, and merging for those who ask. (docs/protocol/catch-up.md)
extension VMHost {
    // MARK: The plan

    /// The next pack on the way from what the replica holds to `target`; nil if it had to begin again first.
    func nextPack(to target: Sequence, _ replica: Replica) async throws -> PackID? {
        let here = replica.record.sequence
        if let next = itinerary.first(where: { $0.id.first == here }), next.id.last <= target { return next.id }
        try await makePlan(from: here, to: target)
        guard let first = itinerary.first else {
            throw VMSyncError(
                .corrupt, "the server has no way to checkpoint \(target) of this VM",
                hint: "it was damaged, or tampered with; what this device holds is kept")
        }
        if first.id.first == here { return first.id }
        logger.notice("beginning again from the base image, which is the shorter way to checkpoint \(target)")
        await discardMachine()
        try replica.reset()
        return nil
    }

    /// From the replica, or from the base if that is cheaper.
    private func plan(from here: Sequence, to target: Sequence) async throws -> [OutlinePack] {
        if let head = record.head, head.sequence == target, head.basis == here { return [head.outlinePack] }
        // Only near the head nothing is pruned.
        let isNearHead =
            target == record.head?.sequence && target.rawValue - min(here, target).rawValue <= SpanLadder.width
        if isNearHead, let own = try await ownPacks(here, target) { return own }
        let outline = try await reader.outline()
        let route =
            outline.removing(detours).route(to: target, from: [here, .base])
            ?? outline.route(to: target, from: [here, .base])
        return (route ?? []).compactMap { outline.pack($0) }
    }

    /// The packs that came with the checkpoints between, if there are no others and they make one way.
    private func ownPacks(_ here: Sequence, _ target: Sequence) async throws -> [OutlinePack]? {
        let records = try await reader.records(after: here).filter { $0.sequence <= target }
        var end = here
        for record in records {
            guard record.basis == end else { return nil }
            end = record.sequence
        }
        return end == target ? records.map(\.outlinePack) : nil
    }

    /// The way is planned anew: a pack may have been pruned meanwhile. A span that is of no use is gone around from now on.
    func noteDetour(_ error: VMSyncError, _ replica: Replica) {
        let here = replica.record.sequence
        if error.code == .corrupt, let failed = itinerary.first(where: { $0.id.first == here }), failed.isSpan {
            detours.insert(failed.id)
        }
        itinerary = []
    }

    private var planAhead: CatchUpPlan {
        CatchUpPlan(itinerary.filter { $0.id.first >= replica?.record.sequence ?? .base }, over: sync.down.link)
    }

    private func makePlan(from here: Sequence, to target: Sequence) async throws {
        itinerary = try await plan(from: here, to: target)
        showCatchUp()
        let plan = planAhead
        guard plan.packs.count > 1 else { return }
        logger.notice(
            "catching up",
            metadata: [
                "packs": "\(plan.packs.count)", "bytes": "\(plan.bytes)", "seconds": "\(TimeText.spoken(plan.seconds))",
            ])
    }

    /// What is still to be fetched, for whoever waits for it.
    func showCatchUp() {
        let plan = planAhead
        guard plan.packs.count > 1 else { return progress.withLock { $0 = nil } }
        let step =
            asking == nil ? "fetching \(plan.packsInWords)" : "asking for one pack in place of \(plan.packs.count)"
        progress.withLock {
            $0 = StepProgress(
                step: step, total: plan.bytes, bytesPerSecond: sync.down.goodput, secondsLeft: plan.seconds)
        }
    }

    // MARK: Asking

    /// That this device waits for one pack from where it is to the head.
    struct Asking {
        let from: Sequence
        let until: ContinuousClock.Instant
        /// The spans from there that were known before.
        let known: Set<PackID>
    }

    /// Whether it does, as far as the others need to know.
    var wantsMerge: Bool { asking.map { .now < $0.until } ?? false }

    /// How often it is looked whether the pack is there.
    private static let askingLook = Duration.seconds(1)

    /// Whether it is better to wait for one pack in place of many; waits a while if so.
    func awaitsMerge(to target: Sequence, _ replica: Replica) async throws -> Bool {
        // A VM that has moved here already waits for nobody.
        if record.holder == me {
            asking = nil
            return false
        }
        let here = replica.record.sequence
        if asking == nil, asked.map({ .now - $0 >= MergeDuty.rest }) ?? true {
            try await beginAsking(from: here, to: target)
        }
        guard let asking else { return false }
        let come = asking.from == here ? try await spans(from: here).last { !asking.known.contains($0.id) } : nil
        if asking.from == here, come == nil, .now < asking.until {
            showCatchUp()
            await wake.wait(until: min(asking.until, .now + Self.askingLook))
            return true
        }
        self.asking = nil
        tellStanding()
        if let come { itinerary = [OutlinePack(come.id, size: come.size, isSpan: true)] }
        return false
    }

    private func beginAsking(from here: Sequence, to target: Sequence) async throws {
        if !itinerary.contains(where: { $0.id.first == here }) { try await makePlan(from: here, to: target) }
        guard let patience = planAhead.patience, hasMerger else { return }
        asked = .now
        let known = try await spans(from: here).map(\.id)
        asking = Asking(from: here, until: .now + .seconds(patience), known: Set(known))
        tellStanding()
    }

    private func spans(from state: Sequence) async throws -> [SpanRecord] {
        try await environment.client.spans(of: id, after: state).filter { $0.id.first == state }
    }

    /// Whether there is somebody to ask.
    private var hasMerger: Bool {
        guard let present else { return false }
        return !presentMirrors.isEmpty || record.holder.map { $0 != me && present.contains($0) } ?? false
    }

    // MARK: Merging for others

    var isMirror: Bool { environment.me.isMirror ?? false }

    /// The mirrors that are there and follow, this device too if it is one.
    var presentMirrors: [DeviceID] {
        let others = standings.filter { standing, note in
            note?.isMirror == true && note?.follows == true && present?.contains(standing.device) == true
        }
        return others.map(\.standing.device).filter { $0 != me } + (isMirror ? [me] : [])
    }

    /// Makes one pack in place of many for a device that asks for it, if that falls to this one.
    func answerWishes() {
        // A switch wants the link.
        guard serverAnswers, merging == nil, approach == nil, tenure?.departure == nil, let present, let replica,
            sync.decision.step != .hold, capProblem == nil,
            MergeDuty.isMine(me, mirrors: presentMirrors, holder: record.holder)
        else { return }
        let here = replica.record.sequence
        let wish = standings.first { standing, note in
            note?.wants == true && standing.device != me && present.contains(standing.device) && standing.held < here
                && served[standing.device].map { .now - $0 >= MergeDuty.rest } ?? true
        }
        guard let (standing, note) = wish, let note, keepState(of: here), let maker = try? spanMaker() else { return }
        served[standing.device] = .now
        let (up, bytes) = (sync.up.link, bytesForOthers)
        merging = Task {
            await maker.merge(PackID(standing.held, here), up: up, down: note.down, bytesMax: bytes)
            merging = nil
        }
    }
}
