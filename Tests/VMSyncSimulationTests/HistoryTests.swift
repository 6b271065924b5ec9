import Testing
import VMSyncSimulation

@Suite struct HistoryTests {
    private func history(_ seed: UInt64) -> (log: [String], violation: Violation?) {
        var world = World(seed: seed, isLogging: true)
        do throws(Violation) { try world.run() } catch { return (world.log, error) }
        return (world.log, nil)
    }

    @Test func theSameSeedGivesTheSameHistory() {
        for seed: UInt64 in 0..<20 {
            let (first, second) = (history(seed), history(seed))
            #expect(first.log == second.log)
            #expect(first.violation == second.violation)
            #expect(first.log.count > 10, "a history in which nothing happens proves nothing")
        }
        #expect(history(1).log != history(2).log)
    }

    @Test func inTwentyThousandHistoriesAllInvariantsHoldAndEveryFaultIsTried() async {
        let total = await withTaskGroup(of: Campaign.self) { group in
            for part: UInt64 in 0..<4 {
                group.addTask {
                    var campaign = Campaign()
                    for seed in part * 5000..<(part + 1) * 5000 where !campaign.run(seed) { break }
                    return campaign
                }
            }
            return await group.reduce(into: Campaign()) { $0.add($1) }
        }
        if let failure = total.failure { Issue.record("vmsync-sim --seed \(failure.seed): \(failure.violation)") }
        #expect(total.histories == 20_000)
        #expect(total.faults.untried == [])
    }

    @Test(arguments: Canary.allCases)
    func aPlantedBugIsFoundWithinTenThousandHistories(canary: Canary) {
        var campaign = Campaign(canary: canary)
        var seed: UInt64 = 0
        while seed < 10_000, campaign.run(seed) { seed += 1 }
        #expect(campaign.failure != nil)
    }
}
