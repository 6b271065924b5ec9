import Testing
import VMSyncCore
import VMSyncPolicy

@Suite("Outbox") struct OutboxOrderTests {
    private struct Waiting: WaitingCheckpoint, Equatable {
        let sequence: Sequence
        let parent: Sequence
        var units = 10
        var mustStay: Bool

        init(_ parent: UInt64, _ sequence: UInt64, awaited: Bool = false) {
            mustStay = awaited
            self.sequence = Sequence(rawValue: sequence)
            self.parent = Sequence(rawValue: parent)
        }
    }

    @Test func eachThatWaitsFollowsTheOneBefore() {
        let sealed = [Waiting(7, 8), Waiting(8, 9), Waiting(9, 10)]
        #expect(OutboxOrder.waiting(sealed) == sealed)
        #expect(OutboxOrder.waiting([Waiting]()).isEmpty)
    }

    @Test func whatAMergeHasSwallowedDoesNotWait() {
        let sealed = [Waiting(7, 8), Waiting(8, 9), Waiting(9, 10), Waiting(8, 11)]
        #expect(OutboxOrder.waiting(sealed) == [Waiting(7, 8), Waiting(8, 11)])
    }

    @Test func theOldestIsNeverMerged() throws {
        #expect(OutboxOrder.nextMerge(of: [Waiting(7, 8), Waiting(8, 9)]) == nil)
        let next = try #require(OutboxOrder.nextMerge(of: [Waiting(7, 8), Waiting(8, 9), Waiting(9, 10)]))
        #expect(next.before == Waiting(7, 8))
        #expect(next.earlier == Waiting(8, 9))
        #expect(next.later == Waiting(9, 10))
    }

    @Test func theStateAtWhichAnotherDeviceStandsStays() throws {
        let awaited = Waiting(8, 9, awaited: true)
        #expect(OutboxOrder.nextMerge(of: [Waiting(7, 8), awaited, Waiting(9, 10)]) == nil)
        // What leads there may be merged, and so may what follows it.
        let before = try #require(OutboxOrder.nextMerge(of: [Waiting(6, 7), Waiting(7, 8), awaited, Waiting(9, 10)]))
        #expect(before.before == Waiting(6, 7) && before.earlier == Waiting(7, 8) && before.later == awaited)
        let after = try #require(OutboxOrder.nextMerge(of: [Waiting(7, 8), awaited, Waiting(9, 10), Waiting(10, 11)]))
        #expect(after.before == awaited && after.earlier == Waiting(9, 10) && after.later == Waiting(10, 11))
    }

    @Test func oneMayWaitMoreForEachDeviceThatStandsAtIt() {
        #expect(OutboxOrder.settledMax(of: [Waiting]()) == 2)
        #expect(OutboxOrder.settledMax(of: [Waiting(7, 8), Waiting(8, 9)]) == 2)
        #expect(OutboxOrder.settledMax(of: [Waiting(7, 8), Waiting(8, 9, awaited: true), Waiting(9, 10)]) == 3)
        // The oldest and the newest stay in any case.
        #expect(OutboxOrder.settledMax(of: [Waiting(7, 8, awaited: true), Waiting(8, 9, awaited: true)]) == 2)
    }

    @Test func whatIsTooMuchTogetherIsNotMerged() {
        #expect(OutboxOrder.mayMerge(Waiting(8, 9), Waiting(9, 10), unitsMax: 20))
        #expect(!OutboxOrder.mayMerge(Waiting(8, 9), Waiting(9, 10), unitsMax: 19))
    }
}
