import Foundation
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// What is done for the VM's history: ends of spans are kept, and the VM goes back. (docs/protocol/history.md)
extension VMHost {
    /// Keeps what a span to, or from, the checkpoint that the replica holds is made with, if it begins a block.
    /// - Returns: whether it does.
    @discardableResult
    func keepEnd(of sequence: Sequence, basis: Sequence) -> Bool {
        SpanLadder.rung(of: sequence, basis: basis) > 0 && keepState(of: sequence)
    }

    /// The same, whatever block it stands in.
    func keepState(of sequence: Sequence) -> Bool {
        guard let replica, replica.record.sequence == sequence, let point = chain.point, point.sequence == sequence
        else { return false }
        do {
            let folder = try historyFolder()
            try folder.keep(point, deviceState: try replica.deviceState())
            // Where the spans are made, what is known of them says better what may go.
            if record.holder != me, !isMirror { folder.keepBeginnings() }
            return true
        } catch {
            logger.warning("no span will begin or end at checkpoint \(sequence): \(error.message)")
            return false
        }
    }

    /// The server has a checkpoint that was made here. Its pack is kept for the next span, and the span is made, beside
    /// everything else.
    func noteForHistory(_ sealed: SealedCheckpoint) {
        do {
            try historyFolder().keep(PackID(sealed.parent, sealed.sequence), from: sealed.packPath)
        } catch {
            logger.debug("\(error.message)")
        }
        if keepEnd(of: sealed.sequence, basis: sealed.parent) {
            // A mirror makes them, where there is one, and keeps what they are made of.
            if presentMirrors.isEmpty { makeSpans(to: sealed.sequence) } else { tidyHistory(upTo: sealed.sequence) }
        }
        answerWishes()
    }

    private func tidyHistory(upTo sequence: Sequence) {
        guard let folder = try? historyFolder() else { return }
        folder.keepBeginnings()
        folder.keepPacks(after: sequence, [])
    }

    /// Makes the spans to the checkpoint that the replica holds, beside everything else.
    func makeSpans(to end: Sequence) {
        guard let maker = try? spanMaker() else { return }
        let (goodput, interval, bytes) = (sync.up.goodput, sync.interval, bytesForOthers)
        spanMaking = Task { await maker.make(to: end, goodput: goodput, interval: interval, bytesMax: bytes) }
    }

    /// A mirror keeps what it applies: it will be merged.
    func keepForHistory(_ pack: PackID, from path: String) {
        do {
            try historyFolder().link(pack, to: path)
        } catch {
            logger.debug("\(error.message)")
        }
    }

    private func historyFolder() throws(VMSyncError) -> HistoryFolder { try HistoryFolder(paths.history) }

    func spanMaker() throws(VMSyncError) -> SpanMaker {
        if let maker { return maker }
        let made = SpanMaker(
            vm: id, folder: try historyFolder(), client: environment.client, account: account, reader: reader,
            logger: logger)
        maker = made
        return made
    }

    // MARK: Going back

    /// Makes the state of checkpoint `target` the head, as a new checkpoint; part of the one task. The VM is suspended
    /// afterwards, or off if it was then.
    ///
    /// Order: the lease → the chain at the head, by which this device has the right → the replica at `target` → the commit,
    /// which frees the lease → the replica at the new head. Killed in between, nothing has changed but that this device holds
    /// the lease, and may start the VM or go back again.
    func goBack(to target: Sequence) async throws {
        guard let replica else { throw VMSyncError(.wrongState, "nothing of \(name) is on this device yet") }
        try checkNothingRunsHere()
        guard let found = try await reader.outline().checkpoint(target), !found.isForgotten else {
            throw VMSyncError(
                .notFound, "\(name) has no checkpoint \(target) to go back to", hint: "vmsync history \(name)")
        }
        let epoch = try await acquireLease(force: false)
        // Noted before anything is sent: whatever becomes of the commit, this device doesn't run the VM under this epoch.
        var word: Data?
        do {
            try await refreshRecord()
            guard let head = record.head, record.epoch == epoch else {
                throw VMSyncError(.fenced, "the VM went elsewhere meanwhile", hint: "vmsync status \(name)")
            }
            try Fault.point("return-leased")
            await discardMachine()
            while replica.record.sequence != target || replica.record.damage != nil {
                if replica.record.damage != nil { try replica.reset() }
                if let next = try await nextPack(to: target, replica) { try await fetchAndApply(next, replica) }
                showCatchUp()
            }
            try await followStatements(to: head.sequence)
            guard mayRun else {
                throw VMSyncError(
                    .unauthorized,
                    "the server gave \(name) to this device, but the one that had it last did not give it",
                    hint: "if that device is lost: vmsync switch \(name) --force")
            }
            word = try noteRelease()
            try Fault.point("return-ready")
            try await commitReturn(replica, after: head, epoch)
        } catch {
            noteDetour(VMSyncError(error), replica)
            // If the server doesn't answer, the lease stays here until the VM is started, or goes back.
            try? await environment.client.releaseLease(id, epoch: epoch, word: word)
            throw error
        }
        itinerary = []
        try await refreshRecord()
    }

    /// - Throws: if what is here of the VM must not be touched: it runs, or waits to be sent, or is kept.
    func checkNothingRunsHere() throws {
        if let divergence { throw divergence }
        let isQuiet = machineState == .none || machineState == .waiting
        guard isQuiet, tenure == nil, waitingCheckpoints.isEmpty else {
            throw VMSyncError(
                .wrongState, "\(name) runs here, or has work that isn't saved yet, so it can't go back",
                hint: "vmsync suspend \(name), then once more")
        }
    }

    private func commitReturn(_ replica: Replica, after head: CheckpointRecord, _ epoch: Epoch) async throws {
        let sequence = head.sequence.next
        let header = CheckpointHeader(
            kind: replica.record.kind, epoch: epoch, device: me, created: Date().timeIntervalSince1970,
            qemu: replica.record.qemu ?? "")
        let plain = replica.inboxPath(sequence)
        try replica.writeReturn(as: sequence, header: header, to: plain)
        let key = try account.newestKey(of: .vm(id))
        let written = try PackCipher.encrypt(plain, into: plain + ".encrypted", key, .pack(id, sequence))
        defer { AtomicFile.remove(plain + ".encrypted") }
        let isFree = chain.mayFollow(me, under: epoch, after: nil, account.roster)
        let said = Statement(
            vm: id, device: me, sequence: sequence, parent: chain.point, basis: replica.record.sequence, epoch: epoch,
            release: isFree ? nil : release, isOff: replica.record.kind == .off, size: written.size,
            checksum: written.checksum, digest: Data(key.digest(of: replica.record.digest.combined.description)),
            then: .release)
        let signed = try Signed(said, by: account.keys)
        let offer = try CommitOffer(signed, then: .release)
        let committed = try await environment.client.commit(offer, to: id, pack: .file(path: plain + ".encrypted"))
        try Fault.point("return-committed")
        try chainTakes(signed)
        noteHead(committed)
        try replica.applyInbox(sequence)
    }
}
