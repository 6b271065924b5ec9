import VMSyncCore

/// What a history can do without. (docs/protocol/history.md, "Forgetting")
package struct PrunePlan: Hashable, Sendable {
    package let packs: [PackID]
    /// Whose statements go too.
    package let checkpoints: [Sequence]
    /// Of the packs.
    package let bytes: UInt64
}

extension HistoryOutline {
    /// Numbers before the head in which standbys may be: their packs stay.
    package static let standbyNumbers: UInt64 = 100

    package func prunePlan() -> PrunePlan {
        guard let head else { return PrunePlan(packs: [], checkpoints: [], bytes: 0) }
        let needed = neededPacks(head)
        let dropped = packs.filter { !needed.contains($0.id) }
        let statements = neededStatements(needed)
        return PrunePlan(
            packs: dropped.map(\.id), checkpoints: checkpoints.map(\.sequence).filter { !statements.contains($0) },
            bytes: dropped.reduce(0) { $0 + $1.size })
    }

    private func neededPacks(_ head: OutlineCheckpoint) -> Set<PackID> {
        var needed = routesToAll
        let oldest = head.sequence.rawValue - min(Self.standbyNumbers, head.sequence.rawValue)
        for pack in packs where pack.id.last.rawValue > oldest { needed.insert(pack.id) }
        return needed
    }

    /// The packs of the cheapest routes to all listed checkpoints and to the head.
    package var routesToAll: Set<PackID> {
        let best = cheapest(from: [.base])
        var needed: Set<PackID> = []
        for checkpoint in kept {
            var here = checkpoint.sequence
            // What is needed already leads on to what is needed already.
            while let pack = best[here], needed.insert(pack.id).inserted { here = pack.id.first }
        }
        return needed
    }

    private func neededStatements(_ needed: Set<PackID>) -> Set<Sequence> {
        var statements = Set(needed.flatMap { [$0.first, $0.last] })
        statements.formUnion(kept.map(\.sequence))
        let spans = packs.filter { $0.isSpan && needed.contains($0.id) }.map(\.id)
        for checkpoint in uncovered(by: spans) { statements.insert(checkpoint.sequence) }
        for checkpoint in checkpoints where checkpoint.basis != checkpoint.parent {
            guard statements.contains(checkpoint.sequence) else { continue }
            let start = checkpoints.partitioningIndex { $0.sequence > checkpoint.basis }
            let end = checkpoints.partitioningIndex { $0.sequence > checkpoint.parent }
            statements.formUnion(checkpoints[start..<end].map(\.sequence))
        }
        return statements
    }

    /// Those that aren't inside one of `spans`.
    private func uncovered(by spans: [PackID]) -> [OutlineCheckpoint] {
        var (result, rest, reach): ([OutlineCheckpoint], ArraySlice<PackID>, Sequence) =
            ([], spans.sorted { $0.first < $1.first }[...], .base)
        for checkpoint in checkpoints {
            while let next = rest.first, next.first < checkpoint.sequence {
                reach = max(reach, next.last)
                rest = rest.dropFirst()
            }
            if checkpoint.sequence >= reach { result.append(checkpoint) }
        }
        return result
    }
}
