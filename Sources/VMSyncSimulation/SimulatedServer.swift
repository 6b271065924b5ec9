import Foundation
import VMSyncCore
import VMSyncPolicy

/// The sync server: the lease, decided by the same code as the product's, and what was committed. All of it is durable;
/// a transaction is a call that is either made or not.
struct SimulatedServer {
    /// A checkpoint of the history, and what its device signed that becomes of the VM.
    struct Committed {
        let checkpoint: Int32
        let device: Int
        let epoch: Epoch
        let then: Then
        /// The device to which the VM was moved.
        let target: Int
    }

    /// What devices are told of the VM. One that is published never changes.
    struct Published {
        let state: DeviceSituation.Server
        let release: ReleaseWord?
        /// The device that has been silent for longer than the limit, so that a standby may take over.
        let silent: Int?
    }

    var lease = LeaseState(vm: Names.vm)
    /// By sequence; nil where no checkpoint is.
    var history: [Committed?] = [nil]
    /// By sequence: that of the checkpoint that follows.
    var following: [Sequence?] = [nil]
    var published: [Published] = []
    var isUp = true
    var isFull = false
    /// Milliseconds that its clock is ahead of the world's.
    var clockOffset = 0
    /// Packs that are stored and that nothing names.
    var namelessPacks = 0
    /// When each device was heard last, by the world's clock.
    var heard = [Int](repeating: 0, count: Names.devicesMax)
    var switchesRequested: Int32 = 0
    /// Only with a canary: what a crash takes back.
    var undo: Undo?

    struct Undo {
        let lease: LeaseState
        let length: Int
        let parent: Sequence
    }

    var head: Sequence { lease.headSequence }

    func committed(at sequence: Sequence) -> Committed? {
        let index = Int(sequence.rawValue)
        return index < history.count ? history[index] : nil
    }

    func holderIndex() -> Int? { lease.holder.map(Names.index(of:)) }

    /// Makes room in the history and puts `entry` at its place.
    mutating func note(_ entry: Committed, at sequence: Sequence, after parent: Sequence) {
        while history.count <= Int(sequence.rawValue) {
            history.append(nil)
            following.append(nil)
        }
        history[Int(sequence.rawValue)] = entry
        following[Int(parent.rawValue)] = sequence
    }

    /// Takes back what was not durable when the server died.
    mutating func losePower() {
        guard let undo else { return }
        lease = undo.lease
        history.removeSubrange(undo.length...)
        following.removeSubrange(undo.length...)
        following[Int(undo.parent.rawValue)] = nil
        self.undo = nil
    }
}

extension ReleaseWord {
    /// As the server keeps it: bytes that it doesn't read.
    var data: Data {
        let number = after.rawValue
        return Data([UInt8(device), UInt8(truncatingIfNeeded: number >> 8), UInt8(truncatingIfNeeded: number)])
    }

    init?(_ data: Data?) {
        guard let data, data.count == 3 else { return nil }
        let bytes = Array(data)
        self.init(device: Int(bytes[0]), after: Sequence(rawValue: UInt64(bytes[1]) << 8 | UInt64(bytes[2])))
    }
}
