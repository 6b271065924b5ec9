import VMSyncCore

/// What is known of a history from outside, beside what server and devices believe: for the invariants.
struct Ledger {
    /// Work of a guest that ended on a device, and that nobody has in the history, a fork or an outbox yet.
    struct Owed {
        let device: Int
        let work: Int32
    }

    /// Epochs under which devices may have the VM from whom it was taken by force: with those that they have given it.
    private var forcedAway: [Range<Epoch>] = []
    /// By sequence: the checkpoint whose commit was answered.
    private(set) var acknowledged: [Int32?] = [nil]
    private(set) var newestAcknowledged = 0
    var owed: [Owed] = []
    /// What was found to contain `containedHead` when that was looked at last.
    var containing = WorkTree.base
    var containedHead = WorkTree.base
    /// By device: how often its late work had to be kept.
    var kept = [Int](repeating: 0, count: Names.devicesMax)

    mutating func noteForced(from epoch: Epoch, to forced: Epoch) { forcedAway.append(epoch..<forced) }

    func wasForcedAway(_ epoch: Epoch) -> Bool { forcedAway.contains { $0.contains(epoch) } }

    mutating func noteAcknowledged(_ checkpoint: SealedCheckpoint) {
        let index = Int(checkpoint.sequence.rawValue)
        while acknowledged.count <= index { acknowledged.append(nil) }
        acknowledged[index] = checkpoint.number
        newestAcknowledged = max(newestAcknowledged, index)
    }
}
