import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncTestSupport

@Suite("Forgetting and pruning") struct PruneTests {
    @Test("whatever is listed stays in reach, and can be believed", arguments: 0..<12) func reach(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var model = HistoryModel()
        for round in 0..<6 {
            for _ in 0..<random.number(1..<400) {
                let listed = model.outline.listed
                let basis =
                    random.oneIn(150) && !listed.isEmpty ? listed[random.number(0..<listed.count)].sequence : nil
                model.commit(
                    skipping: random.oneIn(20) ? UInt64(random.number(1..<30)) : 0, basis: basis,
                    size: UInt64(random.number(100..<1_000_000)), makesSpans: !random.oneIn(30))
            }
            let head = model.head
            model.forget(model.outline.listed.map(\.sequence).filter { _ in !random.oneIn(10) })
            let before = model.outline
            let listed = before.listed.map(\.sequence) + [head]
            model.prune()
            for sequence in listed {
                let route = try #require(
                    model.outline.route(to: sequence, from: [.base]), "\(sequence) in round \(round)")
                #expect(route == before.route(to: sequence, from: [.base]), "the cheapest way stays")
                #expect(model.outline.chainSteps(from: .base, to: sequence) != nil, "\(sequence) in round \(round)")
                for pack in route { #expect(pack.first == .base || model.outline.checkpoint(pack.first) != nil) }
            }
            #expect(model.outline.prunePlan().packs.isEmpty, "a second time there is nothing to do")
        }
    }

    @Test("it says what it frees, and keeps what standbys may need") func frees() {
        var model = HistoryModel()
        for _ in 1...1_000 { model.commit() }
        model.forget((1..<1_000).map { Sequence(rawValue: $0) })
        let plan = model.outline.prunePlan()
        let before = model.outline.bytes(of: model.outline.packs.map(\.id))
        model.prune()
        #expect(before - model.outline.bytes(of: model.outline.packs.map(\.id)) == plan.bytes)
        #expect(plan.bytes > before / 2)
        #expect(model.outline.packs.filter { $0.id.last > 900 && !$0.isSpan }.count == 100)
        #expect(model.outline.route(to: 1_000, from: [960])?.isEmpty == false)
        #expect(model.outline.checkpoint(500) == nil && model.outline.checkpoint(1_000) != nil)
    }

    @Test("of damaged packs those go that others lead around, and what only they lead to is lost") func repair() {
        var model = HistoryModel()
        for _ in 1...250 { model.commit() }
        let inBlock = model.outline.repairPlan(damaged: [PackID(149, 150)])
        #expect(inBlock.lost == (150...199).map { Sequence(rawValue: $0) } && !inBlock.losesHead)
        #expect(inBlock.packs == [PackID(149, 150)])
        let span = model.outline.repairPlan(damaged: [PackID(0, 100)])
        #expect(span.lost.isEmpty && !span.losesHead, "its parts lead there too")
        let atHead = model.outline.repairPlan(damaged: [PackID(240, 241)])
        #expect(atHead.losesHead && atHead.lost.count == 9)
        let nothing = model.outline.repairPlan(damaged: [])
        #expect(nothing.packs.isEmpty && nothing.lost.isEmpty && !nothing.losesHead)
        #expect(model.outline.removing([PackID(149, 150)]).forgetting(Set(inBlock.lost)).unreachable.isEmpty)
    }

    private var calendar: Calendar {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = TimeZone(secondsFromGMT: 0) ?? .gmt
        return calendar
    }

    private func kept(_ model: HistoryModel, _ rules: Retention) throws -> [Sequence] {
        let now = try #require(model.outline.head).created
        let forgotten = Set(model.outline.forgotten(by: rules, at: now, calendar))
        return model.outline.listed.map(\.sequence).filter { !forgotten.contains($0) }
    }

    @Test("each rule keeps what it says, and all of them the head and what has a tag") func rules() throws {
        var model = HistoryModel()
        // One in ten minutes: 6 in an hour, 144 in a day. The first hour begins in the middle of one.
        for _ in 1...1_000 { model.commit(after: .seconds(600)) }
        model.tag(5)
        #expect(try kept(model, Retention(last: 3)) == [5, 998, 999, 1_000])
        #expect(try kept(model, Retention(last: 0)) == [5, 1_000])
        #expect(try kept(model, Retention(within: 1_800)) == [5, 998, 999, 1_000])
        for (rules, unit, count) in [
            (Retention(hourly: 24), Calendar.Component.hour, 24), (Retention(daily: 5), .day, 5),
        ] {
            // What has a tag and the head are kept in any case; without them, one of each of the last hours or days.
            let others = try kept(model, rules).filter { $0 != 5 && $0 != 1_000 }
            let starts = Set(try others.map { try start(of: unit, $0, model) })
            #expect(starts.count == others.count)
            let all = Set(try model.outline.checkpoints.map { try start(of: unit, $0.sequence, model) }).sorted()
            #expect(starts.union([try start(of: unit, 1_000, model)]) == Set(all.suffix(count)))
        }
        let daily = try kept(model, Retention(daily: 30))
        for mark in stride(from: UInt64(200), through: 900, by: 100) {
            // 144 a day: in a day there is one to which a span leads, or none; where there is one it is that.
            let day = try start(of: .day, Sequence(rawValue: mark), model)
            let chosen = try daily.filter { try start(of: .day, $0, model) == day && $0 != 5 }
            #expect(chosen.count == 1 && chosen.allSatisfy { $0.rawValue % 100 == 0 })
        }
        let both = Set(try kept(model, Retention(last: 3, daily: 2)))
        #expect(both == Set(try kept(model, Retention(last: 3))).union(try kept(model, Retention(daily: 2))))
    }

    private func start(of unit: Calendar.Component, _ sequence: Sequence, _ model: HistoryModel) throws -> Date {
        let created = try #require(model.outline.checkpoint(sequence)).created
        return try #require(
            calendar.dateInterval(of: unit, for: Date(timeIntervalSince1970: Double(created.rawValue) / 1000))
        ).start
    }

    @Test("rules that can't be meant are refused") func refused() throws {
        for rules in [Retention(), Retention(last: -1), Retention(within: .infinity), Retention(daily: -2)] {
            #expect(throws: VMSyncError.self) { try rules.validate() }
        }
        try Retention(last: 0).validate()
    }
}
