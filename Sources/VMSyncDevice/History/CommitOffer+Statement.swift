import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

extension CommitOffer {
    /// Of just the checkpoint that a device has signed for.
    /// - Parameter then: what the statement says becomes of the VM, with the switch that it is for.
    init(_ signed: Signed<Statement>, then: AfterCommit) throws(VMSyncError) {
        let said = try signed.read()
        let parent = said.parent?.sequence ?? .base
        self.init(
            epoch: said.epoch, sequence: said.sequence, parent: parent, basis: said.basis,
            kind: said.isOff ? .off : .live, size: said.size, checksum: said.checksum, statement: signed.bytes,
            then: then)
    }
}
