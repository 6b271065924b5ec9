import Foundation
import VMSyncCore

/// That a device gave a VM to another one directly; the server may not know it yet. (docs/protocol/direct.md)
package struct Handover: Sendable, Hashable, Codable {
    package let id: SwitchID
    package let from: DeviceID
    package let to: DeviceID
    /// Under which `from` had the lease.
    package let epoch: Epoch
    /// The state from which the VM goes on.
    package let sequence: Sequence
    /// What `from` has signed of it: one word for each checkpoint after which the server may stand.
    package let words: [Data]

    package init(id: SwitchID, from: DeviceID, to: DeviceID, epoch: Epoch, sequence: Sequence, words: [Data]) {
        self.id = id
        self.from = from
        self.to = to
        self.epoch = epoch
        self.sequence = sequence
        self.words = words
    }
}

/// The handovers that the server doesn't know of, oldest first; each begins where the one before ends.
package struct Handovers: Sendable, Hashable, Codable {
    package private(set) var list: [Handover] = []
    /// Of those that the server has heard of, the newest ones: who is asked once more must know that they were taken, and their
    /// words are needed until the new holder has saved its first checkpoint.
    package private(set) var former: [Handover] = []
    private static let formerMax = 8
    /// How many the devices make before the server must hear of them: what a grant carries stays small.
    package static let countMax = 32

    /// Far from where counting on would overflow.
    private static let epochMax = Epoch(rawValue: 1 << 62)

    package init() {}

    /// Whether there may be one more.
    package var hasRoom: Bool { list.count < Self.countMax }
    package var isEmpty: Bool { list.isEmpty }
    package var last: Handover? { list.last }

    /// Holder and epoch as they are, where the server says `holder` and `epoch`.
    package func actual(_ holder: DeviceID?, _ epoch: Epoch) -> (holder: DeviceID?, epoch: Epoch) {
        list.reduce((holder, epoch)) { known, next in
            known.0 == next.from && known.1 == next.epoch ? (next.to, next.epoch.next) : known
        }
    }

    /// The one that the server must hear of first, if its record says `holder` and `epoch` and all of them are still news.
    package func untold(_ holder: DeviceID?, _ epoch: Epoch) -> Handover? {
        list.first { $0.from == holder && $0.epoch == epoch }
    }

    /// Adds what has happened last.
    /// - Throws: `wrongState` if it doesn't follow, or if they are too many.
    package mutating func add(_ next: Handover) throws(VMSyncError) {
        if list.last == next { return }
        if let last = list.last, last.to != next.from || last.epoch.next != next.epoch {
            throw VMSyncError(.wrongState, "a handover from \(next.from) doesn't follow the one to \(last.to)")
        }
        guard next.epoch < Self.epochMax, next.epoch.next < next.epoch.afterForce else {
            throw VMSyncError(
                .wrongState, "no epoch is left to count on from \(next.epoch)", hint: "vmsync sync, with the server")
        }
        guard hasRoom else {
            throw VMSyncError(
                .wrongState, "the VM was handed over \(list.count) times without the server",
                hint: "it must hear of it before the next time")
        }
        list.append(next)
    }

    /// Forgets those that the server, which is at `epoch`, has heard of, or has gone past.
    package mutating func settle(at epoch: Epoch) {
        former = (former + list.filter { $0.epoch < epoch }).suffix(Self.formerMax)
        list.removeAll { $0.epoch < epoch }
    }

    /// Whether `id` was one of them, also if the server has heard of it since.
    package func knows(_ id: SwitchID) -> Bool { former.contains { $0.id == id } || list.contains { $0.id == id } }

    /// All words that are known, the newest first.
    package var words: [Data] { (former + list).reversed().flatMap(\.words) }

    /// Takes back the last one: who was to get the VM has refused it.
    package mutating func removeLast() { _ = list.popLast() }

    /// Those that a device knows which gives the VM on, beside the ones that it has heard of before.
    package func followed(by given: Handovers) -> Handovers {
        var both = given
        // Of what comes before, the one that gives the VM has heard that the server knows it.
        if let first = given.list.first { both.list = list.filter { $0.epoch < first.epoch } + given.list }
        let more = former.filter { mine in !given.former.contains { $0.id == mine.id } }
        both.former = (more + given.former).suffix(Self.formerMax)
        return both
    }
}
