import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

/// What a device says of a checkpoint, as far as a server can judge it. Devices believe nothing that a server says of it; but
/// a head that no device can follow would keep all of them from going on, so it must not come to be.
enum StatementCheck {
    /// - Parameter before: the lease as it was when the offer came.
    /// - Throws: `invalidInput` unless the statement is the caller's own, of just this commit.
    static func check(_ offer: CommitOffer, by caller: Caller, after before: LeaseState) throws(VMSyncError) {
        let signed: Signed<Statement>
        let said: Statement
        let parent: ChainPoint?
        do throws(VMSyncError) {
            signed = try Signed<Statement>(bytes: offer.statement)
            said = try signed.read()
            parent = try before.head.map { head throws(VMSyncError) in
                ChainPoint(sequence: head.sequence, hash: try Signed<Statement>(bytes: head.statement).hash)
            }
        } catch {
            throw refused("it can't be read: \(error.message)")
        }
        guard said.vm == before.vm, said.device == caller.device, said.sequence == offer.sequence,
            said.epoch == offer.epoch, said.size == offer.size, said.checksum == offer.checksum,
            said.isOff == (offer.kind == .off)
        else { throw refused("it is of another one") }
        guard said.parent == parent else { throw refused("it does not follow what was said of the head") }
        guard said.then == then(offer.then, before) else { throw refused("it says something else of the lease") }
        guard signed.isSigned(byCertificate: caller.certificate) else { throw refused("its signature is wrong") }
    }

    private static func then(_ then: AfterCommit, _ before: LeaseState) -> Statement.Then? {
        switch then {
        case .keep: .keep
        case .release: .release
        case .move: before.lastSwitch.map { .move(to: $0.to) }
        }
    }

    private static func refused(_ why: String) -> VMSyncError {
        VMSyncError(.invalidInput, "what is said of the checkpoint can't be taken: \(why)")
    }
}
