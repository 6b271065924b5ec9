import VMSyncCore

/// Which spans are made, so that a route has few packs however long a history is.
/// (docs/protocol/history.md, "Spans")
package enum SpanLadder {
    /// Numbers in a block of the lowest rung.
    package static let width: UInt64 = 100
    /// Of a block, in blocks of the rung below: a span is merged of about as many.
    package static let factor: UInt64 = 10
    /// A block of the highest rung has a million numbers: eleven days of one checkpoint a second.
    package static let rungs = 1...5

    /// Devices that may have asked for a pack to one checkpoint, each from another. (docs/protocol/catch-up.md)
    private static let wishesMax = 64
    /// Spans that may lead to one checkpoint.
    package static var spansOfOneEnd: Int { rungs.count + wishesMax }

    static func block(_ sequence: Sequence, _ rung: Int) -> UInt64 {
        var width = width
        for _ in 1..<rung { width *= factor }
        return sequence.rawValue / width
    }

    /// The highest rung of which the checkpoint is the first in a block; 0 if of none.
    package static func rung(of sequence: Sequence, basis: Sequence) -> Int {
        rungs.last { block(sequence, $0) > block(basis, $0) } ?? 0
    }

    /// Of the ends of spans those that the next spans may begin at: the newest, and of each rung the first in the block of
    /// `head`, and in the block before.
    /// - Parameter ends: in rising order.
    package static func beginnings(after head: Sequence, among ends: [Sequence]) -> Set<Sequence> {
        var beginnings = Set(ends.suffix(1))
        for rung in rungs {
            let present = block(head, rung)
            for wanted in [present, present - min(1, present)] {
                if let first = ends.first(where: { block($0, rung) == wanted }) { beginnings.insert(first) }
            }
        }
        return beginnings
    }
}

extension HistoryOutline {
    /// The spans to `end` that are to be made, those of lower rungs first; each may use the one before.
    package func dueSpans(to end: Sequence) -> [PackID] {
        guard let checkpoint = checkpoint(end), SpanLadder.rung(of: end, basis: checkpoint.basis) > 0 else { return [] }
        let ancestors = ancestors(of: end)
        var extended = self
        var due: [PackID] = []
        for rung in SpanLadder.rungs {
            guard let origin = extended.origin(of: end, rung, ancestors) else { continue }
            let id = PackID(origin, end)
            guard extended.pack(id) == nil, let route = extended.route(to: end, from: [origin]) else { continue }
            due.append(id)
            extended.insert(OutlinePack(id, size: extended.bytes(of: route), isSpan: true))
        }
        return due
    }

    /// Where the span of `rung` to `end` begins; nil if one from there leads into its block already, or it is in the first.
    private func origin(of end: Sequence, _ rung: Int, _ ancestors: Set<Sequence>) -> Sequence? {
        let block = SpanLadder.block(end, rung)
        let spans = packs.filter { $0.isSpan && ancestors.contains($0.id.last) }.map(\.id)
        let before = ([.base] + spans.map(\.last)).filter { SpanLadder.block($0, rung) < block }
        let newest = before.map { SpanLadder.block($0, rung) }.max()
        guard let origin = before.filter({ SpanLadder.block($0, rung) == newest }).min() else { return nil }
        let isEntered = spans.contains { SpanLadder.block($0.last, rung) == block && $0.first <= origin }
        return isEntered ? nil : origin
    }

    /// The states that ways to `end` can come by.
    func ancestors(of end: Sequence) -> Set<Sequence> {
        var reached: Set<Sequence> = [end]
        // From the highest end downwards: whatever leads to a state stands before all that leads on from it.
        for pack in packs.reversed() where reached.contains(pack.id.last) { reached.insert(pack.id.first) }
        return reached
    }
}
