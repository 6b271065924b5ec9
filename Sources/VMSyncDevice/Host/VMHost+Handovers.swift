import Foundation
import Logging
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncReplica
import VMSyncSecrets

/// What this device knows of the lease that the server doesn't yet. (docs/protocol/direct.md, "Afterwards")
extension VMHost {
    private var handoversPath: String { paths.state + "/handovers.json" }

    /// - Throws: if the file can't be read: without it nobody knows who may run the VM.
    func openHandovers() throws(VMSyncError) {
        handovers = try AtomicFile.read(Handovers.self, at: handoversPath) ?? Handovers()
        showHandovers()
    }

    /// - Throws: what went wrong, and nothing has changed.
    func saveHandovers(_ changed: Handovers) throws(VMSyncError) {
        do {
            // It says who may run the VM.
            try AtomicFile.write(changed, to: handoversPath, durable: true)
        } catch {
            // It may lie there all the same, and the next daemon would read it.
            if (try? AtomicFile.write(handovers, to: handoversPath, durable: true)) != nil { throw error }
            guard try AtomicFile.read(Handovers.self, at: handoversPath) == changed else { throw error }
            logger.error("\(error.message)")
        }
        handovers = changed
        showHandovers()
    }

    /// The record as it is, and not only as the server knows it.
    private func showHandovers() {
        (record.holder, record.epoch) = handovers.actual(serverLease.holder, serverLease.epoch)
    }

    /// The server says this of the lease.
    func noteServerLease() {
        serverLease = (record.holder, record.epoch)
        var settled = handovers
        settled.settle(at: record.epoch)
        if settled != handovers {
            do { try saveHandovers(settled) } catch { logger.warning("\(error.message)") }
        }
        showHandovers()
    }

    /// Who has the VM, where the server says `record`.
    func holder(by record: VMRecord) -> DeviceID? { handovers.actual(record.holder, record.epoch).holder }

    /// Whether the VM was handed over to this device, and hasn't run here since.
    var isHandedHere: Bool {
        guard let last = handovers.last, last.to == me, tenure == nil, let replica else { return false }
        // After a power loss the state is gone; what was saved of it is what the VM goes on from.
        return replica.record.sequence == last.sequence && replica.record.damage == nil
    }

    /// Whether the VM is here and the server must hear of it.
    var isHandoverUntold: Bool {
        record.holder == me && handovers.untold(serverLease.holder, serverLease.epoch) != nil
    }

    /// Tells the server of what it hasn't heard, before anything else under the new epoch.
    func tellHandovers() async throws {
        guard record.holder == me, let first = handovers.untold(serverLease.holder, serverLease.epoch) else { return }
        try Fault.point("before-handover-told")
        let report = HandoverReport(
            from: first.from, seen: first.epoch, epoch: record.epoch, word: word(of: first)?.bytes)
        try await environment.client.report(report, of: id)
        try await refreshRecord()
    }

    /// The word that the VM was given up after the checkpoint that this device stands at, by which it may say what comes next.
    var handoverWord: Signed<Release>? {
        handovers.words.lazy.compactMap { try? Signed<Release>(bytes: $0) }.first { word in
            self.chain.mayFollow(self.me, under: self.record.epoch, after: word, self.account.roster)
        }
    }

    private func word(of handover: Handover) -> Signed<Release>? {
        handover.words.lazy.compactMap { try? Signed<Release>(bytes: $0) }.first { word in
            (try? word.read())?.after == self.chain.point
        }
    }
}
