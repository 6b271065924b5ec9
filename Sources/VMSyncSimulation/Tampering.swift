import VMSyncCore
import VMSyncPolicy

/// States that must never be, made by hand: an invariant that doesn't find its own would find nothing.
package enum Tampering: CaseIterable, Sendable {
    case twoRunUnderOneEpoch
    case twoRunUnforced
    case aSavedCheckpointIsGone
    case theHolderRunsWithoutTheHead
    case aCommitIsWithoutTheHead
    case aStandbyHoldsSomethingElse
    case lateWorkIsGone
    case theOutboxGrows
    case forksGrow
    case namelessPacksGrow
    case nothingComesToRest

    package var invariant: Violation.Invariant {
        switch self {
        case .twoRunUnderOneEpoch, .twoRunUnforced: .oneRunning
        case .aSavedCheckpointIsGone: .nothingLost
        case .theHolderRunsWithoutTheHead: .headIsContained
        case .aCommitIsWithoutTheHead: .historyIsOneLine
        case .aStandbyHoldsSomethingElse: .standbyIsCommitted
        case .lateWorkIsGone: .lateWorkIsKept
        case .theOutboxGrows, .forksGrow, .namelessPacksGrow: .spaceIsBounded
        case .nothingComesToRest: .converges
        }
    }

    /// What the invariants say of a world that was sound before.
    package func found() -> Violation? {
        var world = World(settings: HistorySettings())
        do throws(Violation) {
            try world.check(world.devices.indices)
            try tamper(&world)
            try world.check(world.devices.indices)
            return nil
        } catch {
            return error
        }
    }

    private func tamper(_ world: inout World) throws(Violation) {
        switch self {
        case .twoRunUnderOneEpoch:
            world.runByHand(0, epoch: 1)
            world.runByHand(1, epoch: 1)
            world.ledger.noteForced(from: Epoch(rawValue: 1), to: Epoch(rawValue: 2))
        case .twoRunUnforced:
            world.runByHand(0, epoch: 1)
            world.runByHand(1, epoch: 2)
        case .aSavedCheckpointIsGone:
            let saved = world.sealByHand(0, sequence: 1)
            world.ledger.noteAcknowledged(saved)
        case .theHolderRunsWithoutTheHead:
            try world.commitByHand(1)
            world.runByHand(0, epoch: 1)
        case .aCommitIsWithoutTheHead:
            try world.commitByHand(1)
            let other = world.sealByHand(1, sequence: 2)
            try world.checkOneLine(other, after: world.server.head)
        case .aStandbyHoldsSomethingElse: world.devices[0].ram[0] = 1
        case .lateWorkIsGone:
            let work = world.works.write(after: WorkTree.base) { state, number in state[0] = number }
            world.ledger.owed.append(.init(device: 0, work: work))
        case .theOutboxGrows:
            for sequence: UInt64 in 1...40 {
                let waiting = world.sealByHand(0, sequence: sequence)
                world.devices[0].disk.outbox.append(.init(waiting))
            }
        case .forksGrow:
            for sequence: UInt64 in 1...40 {
                let fork = world.sealByHand(0, sequence: sequence)
                world.devices[0].disk.forks.append(.init(fork))
            }
        case .namelessPacksGrow: world.server.namelessPacks = 1000
        case .nothingComesToRest:
            // No daemon runs, and none is ever started.
            world.ending.stage = .settling
            while true { try world.watch() }
        }
    }
}

extension World {
    fileprivate mutating func runByHand(_ device: Int, epoch: UInt64) {
        devices[device].qemu = .running
        devices[device].disk.tenure = Tenure(epoch: Epoch(rawValue: epoch))
    }

    /// Of what one write has made of the base.
    fileprivate mutating func sealByHand(_ device: Int, sequence: UInt64) -> SealedCheckpoint {
        let work = works.write(after: WorkTree.base) { state, number in state[0] = number }
        let checkpoint = SealedCheckpoint(
            number: Int32(sealed.count), sequence: Sequence(rawValue: sequence), parent: .base,
            epoch: Epoch(rawValue: 1), device: device, kind: .live, pack: Pack(from: .zero, to: works.state(work)),
            units: 1, work: work)
        sealed.append(checkpoint)
        return checkpoint
    }

    /// Device 0 gets the lease, and a checkpoint of its becomes the head.
    fileprivate mutating func commitByHand(_ sequence: UInt64) throws(Violation) {
        _ = try carryOut(.acquire(force: false), by: 0)
        let checkpoint = sealByHand(0, sequence: sequence)
        _ = try carryOut(.commit(checkpoint: checkpoint.number, then: .keep), by: 0)
    }
}
