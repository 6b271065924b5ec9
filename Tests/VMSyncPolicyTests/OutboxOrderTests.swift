import Testing
import VMSyncCore
import VMSyncPolicy

@Suite("Outbox") struct OutboxOrderTests {
    private struct Waiting: WaitingCheckpoint, Equatable {
        let sequence: Sequence
        let parent: Sequence
        var units = 10

        init(_ parent: UInt64, _ sequence: UInt64) {
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
        #expect(next.earlier == Waiting(8, 9))
        #expect(next.later == Waiting(9, 10))
    }

    @Test func whatIsTooMuchTogetherIsNotMerged() {
        #expect(OutboxOrder.mayMerge(Waiting(8, 9), Waiting(9, 10), unitsMax: 20))
        #expect(!OutboxOrder.mayMerge(Waiting(8, 9), Waiting(9, 10), unitsMax: 19))
    }
}
