import Foundation
import VMSyncCore

/// A checkpoint in the outline of a history.
package struct OutlineCheckpoint: Hashable, Sendable {
    package let sequence: Sequence
    /// The head that it was committed after.
    package let parent: Sequence
    /// What its own pack is relative to: the parent, except after a restore.
    package let basis: Sequence
    package let kind: CheckpointKind
    package let device: DeviceID
    /// By the server's clock.
    package let created: Timestamp
    /// Off the list: it can't be restored any more.
    package let isForgotten: Bool
    /// Whether there is a picture of the screen.
    package let hasThumbnail: Bool
    /// What a person calls it; encrypted.
    package let tag: Data?

    package init(
        sequence: Sequence, parent: Sequence, basis: Sequence, kind: CheckpointKind, device: DeviceID,
        created: Timestamp, isForgotten: Bool = false, hasThumbnail: Bool = false, tag: Data? = nil
    ) {
        self.sequence = sequence
        self.parent = parent
        self.basis = basis
        self.kind = kind
        self.device = device
        self.created = created
        self.isForgotten = isForgotten
        self.hasThumbnail = hasThumbnail
        self.tag = tag
    }
}

/// Which pack it is: it leads from one state of a VM to a later one.
package struct PackID: Hashable, Sendable, Codable, Comparable, CustomStringConvertible {
    /// What it is relative to.
    package let first: Sequence
    /// What it makes.
    package let last: Sequence

    package init(_ first: Sequence, _ last: Sequence) {
        self.first = first
        self.last = last
    }

    /// By the end, so that what leads to a state stands before all that leads on from it.
    package static func < (left: PackID, right: PackID) -> Bool {
        (left.last, left.first) < (right.last, right.first)
    }

    package var description: String { "\(first)-\(last)" }
}

/// A pack in the outline of a history.
package struct OutlinePack: Hashable, Sendable {
    package let id: PackID
    /// Bytes, as it is stored.
    package let size: UInt64
    /// Whether it was merged of others, not committed.
    package let isSpan: Bool

    package init(_ id: PackID, size: UInt64, isSpan: Bool) {
        self.id = id
        self.size = size
        self.isSpan = isSpan
    }
}

extension CheckpointRecord {
    /// The pack that came with it, as the outline has it.
    package var outlinePack: OutlinePack { OutlinePack(PackID(basis, sequence), size: size, isSpan: false) }
}

/// All states of a VM and the packs between them, without anything that takes much room.
/// (docs/protocol/history.md, "States and packs")
package struct HistoryOutline: Hashable, Sendable {
    /// In rising order.
    package private(set) var checkpoints: [OutlineCheckpoint] = []
    /// In rising order.
    package private(set) var packs: [OutlinePack] = []

    package init() {}

    package init(checkpoints: [OutlineCheckpoint], packs: [OutlinePack]) {
        self.checkpoints = checkpoints.sorted { $0.sequence < $1.sequence }
        self.packs = packs.sorted { $0.id < $1.id }
    }

    /// Takes in what comes after all that is here.
    package mutating func append(_ later: HistoryOutline) {
        checkpoints += later.checkpoints
        packs += later.packs
    }

    package mutating func insert(_ pack: OutlinePack) {
        packs.insert(pack, at: packs.partitioningIndex { $0.id >= pack.id })
    }

    package var head: OutlineCheckpoint? { checkpoints.last }

    /// Bytes of a pack, at most: the whole memory and disk of any VM that a person's device runs.
    package static let packBytesMax: UInt64 = 256 << 30

    /// Whether each pack leads upwards, from a state that is there to one that is.
    package var isConsistent: Bool {
        let states = Set(checkpoints.map(\.sequence)).union([.base])
        return zip(checkpoints, checkpoints.dropFirst()).allSatisfy { $0.sequence < $1.sequence }
            && zip(packs, packs.dropFirst()).allSatisfy { $0.id < $1.id }
            && packs.allSatisfy { $0.size <= Self.packBytesMax }
            && packs.allSatisfy {
                $0.id.first < $0.id.last && states.contains($0.id.first) && states.contains($0.id.last)
            }
    }

    package func checkpoint(_ sequence: Sequence) -> OutlineCheckpoint? {
        let index = checkpoints.partitioningIndex { $0.sequence >= sequence }
        return index < checkpoints.count && checkpoints[index].sequence == sequence ? checkpoints[index] : nil
    }

    package func pack(_ id: PackID) -> OutlinePack? {
        let index = packs.partitioningIndex { $0.id >= id }
        return index < packs.count && packs[index].id == id ? packs[index] : nil
    }

    /// The same with these off the list.
    package func forgetting(_ sequences: Set<Sequence>) -> HistoryOutline {
        var outline = self
        outline.checkpoints = checkpoints.map { checkpoint in
            guard sequences.contains(checkpoint.sequence) else { return checkpoint }
            return OutlineCheckpoint(
                sequence: checkpoint.sequence, parent: checkpoint.parent, basis: checkpoint.basis,
                kind: checkpoint.kind, device: checkpoint.device, created: checkpoint.created, isForgotten: true,
                tag: checkpoint.tag)
        }
        return outline
    }

    /// The checkpoints that can be restored.
    package var listed: [OutlineCheckpoint] { checkpoints.filter { !$0.isForgotten } }

    /// Those, and the head: what must stay in reach.
    var kept: [OutlineCheckpoint] { checkpoints.filter { !$0.isForgotten || $0 == head } }
}

extension Array {
    /// The first index whose element `belongsAfter`, where those before all don't.
    func partitioningIndex(_ belongsAfter: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if belongsAfter(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
