import VMSyncCore

extension HistoryOutline {
    /// What a pack counts more than its bytes: about what a link carries in the time of a request.
    package static let requestBytes: UInt64 = 16 << 10

    /// The cheapest way to `target` along packs.
    /// - Parameter starts: the states to begin from.
    /// - Returns: in order; empty if `target` is one of `starts`, nil if none leads there.
    package func route(to target: Sequence, from starts: Set<Sequence>) -> [PackID]? {
        let best = cheapest(from: starts)
        return Self.way(to: target, from: starts) { state in best[state].map { ($0.id.first, $0.id) } }
    }

    /// Of each state that can be reached, the last pack of the cheapest way there.
    func cheapest(from starts: Set<Sequence>) -> [Sequence: OutlinePack] {
        var cost: [Sequence: UInt64] = [:]
        for start in starts { cost[start] = 0 }
        var last: [Sequence: OutlinePack] = [:]
        // Packs stand in the order of their ends and lead upwards, so a way is known when it is needed.
        for pack in packs {
            guard let before = cost[pack.id.first] else { continue }
            let (sum, overflow) = before.addingReportingOverflow(pack.size)
            // No way is as long as that: `isConsistent` bounds the packs.
            let total = overflow ? .max : sum + min(Self.requestBytes, .max - sum)
            if let known = cost[pack.id.last], known <= total { continue }
            cost[pack.id.last] = total
            last[pack.id.last] = pack
        }
        return last
    }

    /// The steps to `target`, found from its end.
    /// - Parameter last: the step that leads to a state, and where it comes from.
    private static func way<Step>(
        to target: Sequence, from starts: Set<Sequence>, last: (Sequence) -> (from: Sequence, step: Step)?
    ) -> [Step]? {
        var way: [Step] = []
        var here = target
        while !starts.contains(here) {
            guard let (before, step) = last(here) else { return nil }
            way.append(step)
            here = before
        }
        return way.reversed()
    }

    /// The bytes of these packs.
    package func bytes(of packs: [PackID]) -> UInt64 {
        let wanted = Set(packs)
        return self.packs.reduce(0) { wanted.contains($1.id) ? $0 + $1.size : $0 }
    }

    /// A step of a device's belief, from one place of a VM's chain to a later one.
    package enum ChainStep: Hashable, Sendable {
        /// Along the statement of this checkpoint, whose parent it stands at.
        case statement(Sequence)
        /// Along the link of this span.
        case link(PackID)

        package var last: Sequence {
            switch self {
            case .statement(let sequence): sequence
            case .link(let span): span.last
            }
        }
    }

    /// The fewest steps of the chain from `start` to `target`; nil if none lead there.
    package func chainSteps(from start: Sequence, to target: Sequence) -> [ChainStep]? {
        var steps: [(from: Sequence, step: ChainStep)] = checkpoints.map { ($0.parent, .statement($0.sequence)) }
        steps += packs.filter(\.isSpan).map { ($0.id.first, .link($0.id)) }
        steps.sort { ($0.step.last, $0.from) < ($1.step.last, $1.from) }
        var count = [start: 0]
        var last: [Sequence: (from: Sequence, step: ChainStep)] = [:]
        for step in steps where step.step.last <= target {
            guard let before = count[step.from], count[step.step.last].map({ before + 1 < $0 }) ?? true else {
                continue
            }
            count[step.step.last] = before + 1
            last[step.step.last] = step
        }
        return Self.way(to: target, from: [start]) { last[$0] }
    }
}
