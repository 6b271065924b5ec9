import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncReplica
import VMSyncTestSupport

/// What waits for a server that is away.
@Suite("The outbox")
struct ReplicaOutboxTests {
    @Test(
        "holds the oldest checkpoint and one with all the others, which do what they did one by one", arguments: 1...8)
    func merged(seed: UInt64) throws {
        try withPair(seed: seed) { active, standby, random in
            for number in 1...12 {
                try active.runGuest(&random, writes: 60)
                try active.checkpoint()
                try active.replica.mergeOutbox()
                #expect(
                    try active.replica.outbox().map(\.sequence.rawValue)
                        == (number == 1 ? [3] : [3, UInt64(number) + 2]))
            }
            let waiting = try active.replica.outbox()
            #expect(waiting.map(\.parent.rawValue) == [2, 3])
            #expect(try active.isSound())
            try active.send(to: standby)
            #expect(try active.content() == standby.content())
            #expect(try standby.isSound())
        }
    }

    @Test("goes on when the oldest is gone, and its next merge begins behind what is left")
    func oldestSent() throws {
        try withPair(seed: 20) { active, standby, random in
            for _ in 0..<3 { try checkpoint(active, &random) }
            let first = try #require(try active.replica.outbox().first)
            try standby.fetch(first)
            try standby.replica.applyInbox(first.sequence)
            active.replica.acknowledge(first.sequence)
            for _ in 0..<3 { try checkpoint(active, &random) }
            #expect(try active.replica.outbox().map(\.sequence.rawValue) == [5, 8])
            try active.send(to: standby)
            #expect(try active.content() == standby.content())
        }
    }

    @Test("keeps apart what is too much to merge")
    func tooMuch() throws {
        try withPair(seed: 21) { active, standby, random in
            for _ in 0..<3 {
                for index in 0..<active.replica.memory.units / 10 {
                    active.replica.memory.writablePage(index).copyBytes(from: random.bytes(Unit.size))
                }
                try active.checkpoint()
            }
            #expect(throws: VMSyncError.self) { try active.replica.mergeOutbox() }
            #expect(try active.replica.outbox().map(\.sequence.rawValue) == [3, 4, 5])
            try active.send(to: standby)
            #expect(try active.content() == standby.content())
        }
    }

    private func checkpoint(_ device: TestDevice, _ random: inout SeededRandom) throws {
        try device.runGuest(&random)
        try device.checkpoint()
        try device.replica.mergeOutbox()
    }
}
