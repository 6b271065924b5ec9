import Foundation
import VMSyncAPI
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
            said.isOff == (offer.kind == .off), said.basis ?? offer.parent == offer.basis
        else { throw refused("it is of another one") }
        guard said.parent == parent else { throw refused("it does not follow what was said of the head") }
        guard said.then == then(offer.then, before) else { throw refused("it says something else of the lease") }
        guard signed.isSigned(byCertificate: caller.certificate) else { throw refused("its signature is wrong") }
    }

    /// What a device says of a span.
    /// - Parameter ends: the checkpoints that it leads from and to; no base.
    /// - Throws: `invalidInput` unless it is the caller's own, of just this span.
    static func check(
        _ link: Data, of offer: SpanOffer, _ vm: VMID, by caller: Caller, ends: [Sequence: CheckpointRecord]
    ) throws(VMSyncError) {
        do throws(VMSyncError) {
            let signed = try Signed<SpanLink>(bytes: link)
            let said = try signed.read()
            func point(_ sequence: Sequence) throws(VMSyncError) -> ChainPoint? {
                guard let end = ends[sequence] else { return nil }
                return ChainPoint(sequence: sequence, hash: try Signed<Statement>(bytes: end.statement).hash)
            }
            guard said.vm == vm, said.device == caller.device, said.size == offer.size,
                said.checksum == offer.checksum, offer.id.first < offer.id.last,
                said.first?.sequence ?? .base == offer.id.first, said.last.sequence == offer.id.last,
                try said.first == point(offer.id.first), try said.last == point(offer.id.last)
            else { throw VMSyncError(.invalidInput, "it is of another one") }
            guard signed.isSigned(byCertificate: caller.certificate) else {
                throw VMSyncError(.invalidInput, "its signature is wrong")
            }
        } catch {
            throw VMSyncError(.invalidInput, "what is said of span \(offer.id) can't be taken: \(error.message)")
        }
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
