import Foundation
import VMSyncCore
import VMSyncPolicy
import VMSyncTestSupport

extension VMSyncCore.Sequence: ExpressibleByIntegerLiteral {
    package init(integerLiteral value: UInt64) { self.init(rawValue: value) }
}

/// A history that grows as devices let it grow.
struct HistoryModel {
    private(set) var outline = HistoryOutline()
    private let device = DeviceID.random()
    private var now = Timestamp(rawValue: 1_700_000_000_000)

    var head: Sequence { outline.head?.sequence ?? .base }

    /// A commit, after some that were merged into it, and the spans that it is due.
    mutating func commit(
        skipping: UInt64 = 0, basis: Sequence? = nil, size: UInt64 = 1000, after interval: Duration = .seconds(1),
        makesSpans: Bool = true
    ) {
        let sequence = Sequence(rawValue: head.rawValue + 1 + skipping)
        now = now + interval
        let checkpoint = OutlineCheckpoint(
            sequence: sequence, parent: head, basis: basis ?? head, kind: .live, device: device, created: now)
        outline.append(
            HistoryOutline(
                checkpoints: [checkpoint],
                packs: [OutlinePack(PackID(checkpoint.basis, sequence), size: size, isSpan: false)]))
        guard makesSpans else { return }
        for span in outline.dueSpans(to: sequence) {
            // What changed again and again is in it once.
            let route = outline.route(to: span.last, from: [span.first]) ?? []
            outline.insert(OutlinePack(span, size: max(1, outline.bytes(of: route) / 3), isSpan: true))
        }
    }

    mutating func forget(_ sequences: [Sequence]) { outline = outline.forgetting(Set(sequences)) }

    mutating func tag(_ sequence: Sequence) {
        outline = HistoryOutline(
            checkpoints: outline.checkpoints.map { $0.sequence == sequence ? $0.with(tag: Data([1])) : $0 },
            packs: outline.packs)
    }

    mutating func prune() {
        let plan = outline.prunePlan()
        let (packs, checkpoints) = (Set(plan.packs), Set(plan.checkpoints))
        outline = HistoryOutline(
            checkpoints: outline.checkpoints.filter { !checkpoints.contains($0.sequence) },
            packs: outline.packs.filter { !packs.contains($0.id) })
    }
}

extension OutlineCheckpoint {
    func with(tag: Data) -> OutlineCheckpoint {
        OutlineCheckpoint(
            sequence: sequence, parent: parent, basis: basis, kind: kind, device: device, created: created,
            isForgotten: isForgotten, tag: tag)
    }
}
