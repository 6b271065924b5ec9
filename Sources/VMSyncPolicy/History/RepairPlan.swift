import VMSyncCore

/// What is to be done about packs that can't be read. (docs/protocol/history.md, "Damage")
package struct RepairPlan: Hashable, Sendable, Codable {
    /// That are of no use.
    package let packs: [PackID]
    /// Listed checkpoints to which nothing else leads.
    package let lost: [Sequence]
    /// Whether the head is among what is lost: then the packs stay, for nothing can be done but to go on from a device that
    /// holds it.
    package let losesHead: Bool
}

extension HistoryOutline {
    package func repairPlan(damaged: Set<PackID>) -> RepairPlan {
        let whole = removing(damaged)
        let unreachable = whole.unreachable
        return RepairPlan(
            packs: packs.map(\.id).filter(damaged.contains), lost: unreachable.filter { $0 != head?.sequence },
            losesHead: head.map { unreachable.contains($0.sequence) } ?? false)
    }

    /// The listed checkpoints, and the head, to which no route leads from the base.
    package var unreachable: [Sequence] {
        let best = cheapest(from: [.base])
        return kept.map(\.sequence).filter { best[$0] == nil }
    }

    package func removing(_ packs: Set<PackID>) -> HistoryOutline {
        HistoryOutline(checkpoints: checkpoints, packs: self.packs.filter { !packs.contains($0.id) })
    }
}
