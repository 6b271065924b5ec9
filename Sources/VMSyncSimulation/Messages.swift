import VMSyncCore
import VMSyncPolicy

/// What a commit does with the lease; the switch is a number for `Names.switchID`.
enum Then: Equatable {
    case keep
    case release
    case move(Int32)

    var afterCommit: AfterCommit {
        switch self {
        case .keep: .keep
        case .release: .release
        case .move(let id): .move(Names.switchID(id))
        }
    }
}

/// What a device asks of the server. Small values, switches by number: the strings that the pure code wants are made where
/// it is called.
enum Request {
    case record
    case commit(checkpoint: Int32, then: Then)
    case acquire(force: Bool)
    /// Gives the lease back; with `word` if others need to know that it did not run the VM.
    case release(epoch: UInt64, word: Bool)
    /// The VM was handed over directly, from whom the server knows, under `seen`.
    case handedOver(from: Int, seen: UInt64, epoch: UInt64, word: ReleaseWord?)
    case requestSwitch(to: Int, isCold: Bool)
    case ready(Int32, at: Sequence)
    case refuse(Int32)
    case fail(Int32)
    case done(Int32)
    /// Which checkpoint stands at this sequence.
    case checkpoint(Sequence)
    /// The pack that leads on from this sequence.
    case pack(after: Sequence)
    case base
}

/// A request on its way, from whom, and which question of his it answers. The question 0 waits for no answer.
struct Letter {
    let from: Int
    let question: Int
    let request: Request
}

/// Why something did not work, as far as it makes a difference to who asked.
enum Failure: Error, Equatable {
    /// No answer: the request may or may not have been carried out.
    case unavailable
    case fenced
    case outOfOrder
    case wrongState
    case leaseHeld
    case noSpace
    case corrupt
    /// The chain of checkpoints doesn't leave the VM to this device.
    case unauthorized
    /// QEMU failed.
    case machine
    case other

    init(_ error: VMSyncError) {
        switch error.code {
        case .fenced: self = .fenced
        case .outOfOrder: self = .outOfOrder
        case .wrongState: self = .wrongState
        case .leaseHeld: self = .leaseHeld
        default: self = .other
        }
    }
}

enum Answer {
    case done
    /// Of another device: whether it has taken the VM.
    case verdict(isTaken: Bool)
    /// A record, as its place in `SimulatedServer.published`.
    case record(Int)
    case epoch(Epoch)
    /// A checkpoint's number; nil if there is none.
    case checkpoint(Int32?)
    case failed(Failure)
}

/// A checkpoint that was once sealed, by whomever. Its number stands for the hash of its encrypted pack.
struct SealedCheckpoint {
    let number: Int32
    let sequence: Sequence
    let parent: Sequence
    let epoch: Epoch
    let device: Int
    let kind: CheckpointKind
    let pack: Pack
    let units: Int
    /// Of the guest at that instant; for the invariants.
    let work: Int32
}

/// The word of a device that it has given the VM back without running it. (docs/protocol/trust.md)
struct ReleaseWord: Equatable {
    let device: Int
    let after: Sequence
}
