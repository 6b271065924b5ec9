import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncTestSupport

@Suite("Routes through a history") struct HistoryRouteTests {
    @Test("the cheapest one is found, or none", arguments: 0..<40) func cheapest(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            let states = random.number(1..<9)
            var packs: [OutlinePack] = []
            for last in 1...states {
                for first in 0..<last where random.oneIn(2) {
                    let id = PackID(Sequence(rawValue: UInt64(first)), Sequence(rawValue: UInt64(last)))
                    packs.append(OutlinePack(id, size: UInt64(random.number(0..<100_000)), isSpan: random.oneIn(2)))
                }
            }
            let outline = HistoryOutline(checkpoints: [], packs: packs)
            let target = Sequence(rawValue: UInt64(states))
            let starts: Set<Sequence> =
                random.oneIn(2) ? [.base] : [.base, Sequence(rawValue: UInt64(random.number(0..<states)))]
            let found = outline.route(to: target, from: starts)
            #expect(found.map { cost(of: $0, outline) } == lowestCost(to: target, from: starts, outline))
            guard let found else { continue }
            #expect(found.last.map { $0.last == target } ?? starts.contains(target))
            #expect(found.first.map { starts.contains($0.first) } ?? true)
            #expect(zip(found, found.dropFirst()).allSatisfy { $0.last == $1.first })
        }
    }

    private func cost(of route: [PackID], _ outline: HistoryOutline) -> UInt64 {
        outline.bytes(of: route) + UInt64(route.count) * HistoryOutline.requestBytes
    }

    /// By trying all ways.
    private func lowestCost(to target: Sequence, from starts: Set<Sequence>, _ outline: HistoryOutline) -> UInt64? {
        if starts.contains(target) { return 0 }
        return outline.packs.filter { $0.id.last == target }.compactMap { pack in
            lowestCost(to: pack.id.first, from: starts, outline).map { $0 + pack.size + HistoryOutline.requestBytes }
        }.min()
    }

    @Test("however long the history, a route has few packs") func bounded() {
        var model = HistoryModel()
        var longest = 0
        for number in 1...12_345 {
            model.commit(skipping: number % 50 == 0 ? 7 : 0)
            guard number % 97 == 0 else { continue }
            longest = max(longest, model.outline.route(to: model.head, from: [.base])?.count ?? .max)
        }
        #expect(longest <= 130)
        #expect(longest > 90, "own packs up to the next rung are what it is made of")
        // One more than the packs: a span of each rung that begins at the base.
        let spans = model.outline.packs.filter(\.isSpan)
        #expect(
            Set(spans.filter { $0.id.first == .base }.map { SpanLadder.rung(of: $0.id.last, basis: .base) }).count >= 2)
        #expect(spans.count < 160)
    }

    @Test("where a span is missing the next one reaches further back") func missingSpans() {
        var model = HistoryModel()
        for number in 1...1_250 { model.commit(makesSpans: number != 300 && number != 1_000) }
        let spans = model.outline.packs.filter(\.isSpan).map(\.id)
        #expect(!spans.contains { $0.last == 300 || $0.last == 1_000 })
        #expect(spans.contains(PackID(200, 400)) && spans.contains(PackID(0, 1_100)))
        #expect(model.outline.route(to: model.head, from: [.base])?.first == PackID(0, 1_100))
    }

    @Test("after a restore spans begin where the restored state can come by") func afterRestore() {
        var model = HistoryModel()
        for _ in 1...520 { model.commit() }
        model.commit(basis: 250, size: 100)
        for _ in 1...100 { model.commit() }
        let spans = model.outline.packs.filter(\.isSpan).map(\.id)
        #expect(spans.contains(PackID(200, 521)), "its basis is rungs below it")
        #expect(spans.contains(PackID(521, 600)))
        let route = model.outline.route(to: model.head, from: [.base])
        #expect(route?.contains { $0.first > 250 && $0.last < 521 } == false)
    }

    @Test("a device's belief takes links where statements are gone") func chainSteps() {
        var model = HistoryModel()
        for _ in 1...321 { model.commit() }
        #expect(
            model.outline.chainSteps(from: .base, to: 302)
                == [
                    .link(PackID(0, 100)), .link(PackID(100, 200)), .link(PackID(200, 300)), .statement(301),
                    .statement(302),
                ])
        #expect(model.outline.chainSteps(from: 301, to: 303) == [.statement(302), .statement(303)])
        #expect(model.outline.chainSteps(from: 302, to: 301) == nil)
        #expect(model.outline.chainSteps(from: 302, to: 302) == [])
    }
}
