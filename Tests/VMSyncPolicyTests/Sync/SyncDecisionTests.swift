import Testing
import VMSyncCore
import VMSyncPolicy

/// A guest that has written 10 KB since a checkpoint half a second ago, on mains, over 1 MB/s.
private func signals(_ change: (inout SyncSignals) -> Void = { _ in }) -> SyncSignals {
    let link = LinkSummary(overhead: 0.01, goodput: 1e6, error: 0.05)
    var signals = SyncSignals(forecast: SwitchForecast(up: link, fixed: Estimate(0.1)))
    signals.sinceLast = 0.5
    signals.unsent.written = Estimate(10_000)
    change(&signals)
    return signals
}

private func policy(_ values: [PolicyKey: String] = [:], places: [String: String] = [:]) throws -> SyncPolicy {
    var layer = PolicyLayer()
    for (key, text) in values { try layer.set(key, text) }
    for (place, text) in places { try layer.set(place: place, text) }
    let effective = EffectivePolicy([(.vm, layer)])
    #expect(effective.problems.isEmpty)
    return effective.policy
}

private func step(_ policy: SyncPolicy, _ signals: SyncSignals) -> SyncDecision.Step {
    SyncDecision.next(policy, signals).step
}

@Suite struct SyncDecisionTests {
    @Test func nothingIsDoneForAGuestThatHasWrittenNothing() throws {
        let idle = signals {
            $0.unsent.hasChanged = false
            $0.sinceLast = 100
        }
        #expect(SyncDecision.next(try policy(), idle) == SyncDecision(step: .wait(nil), reason: .nothingWritten))
        let waiting = signals {
            $0.unsent.hasChanged = false
            $0.unsent.nextPack = 5
            $0.sinceLast = 100
        }
        #expect(step(try policy(), waiting) == .checkpoint)
    }

    @Test func theFirstCheckpointIsMadeAtOnce() throws {
        #expect(step(try policy([.every: "off", .events: "off"]), signals { $0.sinceLast = nil }) == .checkpoint)
    }

    // MARK: Base images

    private static func reason(_ policy: SyncPolicy, _ signals: SyncSignals, isAwaited: Bool) -> SyncReason? {
        SyncDecision.reasonAgainstBase(policy, signals, part: 1000, isAwaited: isAwaited)
    }

    @Test func aPauseHoldsPartsOfABaseImageButNotThoseThatSomethingWaitsFor() throws {
        let policy = try policy([.onMetered: "pause"])
        let metered = signals { $0.isMetered = true }
        #expect(Self.reason(policy, metered, isAwaited: false) == .paused(.metered))
        #expect(Self.reason(policy, metered, isAwaited: true) == nil)
        #expect(Self.reason(policy, signals(), isAwaited: false) == nil)
    }

    @Test(arguments: [false, true])
    func aCapHoldsEveryPartOfABaseImage(isAwaited: Bool) throws {
        let policy = try policy([.capPerDay: "10000"])
        let room = signals { $0.used.today.all = 9000 }
        #expect(Self.reason(policy, room, isAwaited: isAwaited) == nil)
        let full = signals { $0.used.today.all = 9001 }
        guard case .packPassesCap(_, 1000)? = Self.reason(policy, full, isAwaited: isAwaited) else {
            Issue.record("it doesn't hold")
            return
        }
    }

    // MARK: Time and events

    @Test func timeMakesACheckpointDue() throws {
        let policy = try policy([.every: "20s"])
        #expect(step(policy, signals { $0.sinceLast = 19 }) == .wait(1))
        #expect(step(policy, signals { $0.sinceLast = 20 }) == .checkpoint)
    }

    @Test func withoutTimeOnlyEventsCount() throws {
        let policy = try policy([.every: "off"])
        let late = signals { $0.sinceLast = 1e6 }
        #expect(SyncDecision.next(policy, late) == SyncDecision(step: .wait(nil), reason: .eventsOnly))
        #expect(
            step(
                policy,
                signals {
                    $0.sinceLast = 5; $0.event = .guestQuiet
                }) == .checkpoint)
    }

    @Test func eventsThatComeTogetherMakeOneCheckpoint() throws {
        let policy = try policy([.every: "1h"])
        #expect(
            step(
                policy,
                signals {
                    $0.sinceLast = 1.5; $0.event = .chargerPulled
                }) == .wait(0.5))
        #expect(
            step(
                policy,
                signals {
                    $0.sinceLast = 2; $0.event = .chargerPulled
                }) == .checkpoint)
    }

    @Test func eventsCanBeSwitchedOff() throws {
        let policy = try policy([.every: "1h", .events: "off"])
        #expect(
            step(
                policy,
                signals {
                    $0.sinceLast = 10; $0.event = .networkBack
                }) == .wait(3590))
    }

    @Test(arguments: [Occasion.batteryEmpty, .hostSleeping, .hostShuttingDown])
    func theLastMomentIsUsedWhateverElseIsSaid(event: Occasion) throws {
        let policy = try policy([.every: "off", .events: "off", .onMetered: "1h"])
        #expect(
            step(
                policy,
                signals {
                    $0.isMetered = true; $0.sinceLast = 0.1; $0.event = event
                }) == .checkpoint)
    }

    @Test func pauseIsStricterThanAnyTime() throws {
        for values in [[PolicyKey.onMetered: "pause", .whenBusy: "7d"], [.onMetered: "7d", .whenBusy: "pause"]] {
            let both = signals {
                $0.isMetered = true; $0.isBusy = true; $0.sinceLast = 10
            }
            #expect(step(try policy(values), both) == .hold)
        }
    }

    @Test func otherEventsWaitForARestraint() throws {
        let policy = try policy([.onMetered: "1m"])
        let near = signals {
            $0.isMetered = true; $0.sinceLast = 50; $0.event = .networkBack
        }
        #expect(step(policy, near) == .wait(10))
    }

    // MARK: Restraints

    @Test(arguments: [
        (PolicyKey.onMetered, RestraintCause.metered), (.onBattery, .battery), (.onLowBattery, .lowBattery),
        (.whenBusy, .busy),
    ])
    func aRestraintHoldsWhileItsCauseLasts(key: PolicyKey, cause: RestraintCause) throws {
        let apply: (inout SyncSignals) -> Void = {
            $0.sinceLast = 30
            switch cause {
            case .metered: $0.isMetered = true
            case .battery: $0.power = .battery(level: nil)
            case .lowBattery: $0.power = .battery(level: 0.19)
            default: $0.isBusy = true
            }
        }
        let others: [PolicyKey: String] = [
            .onMetered: "sync", .onBattery: "sync", .onLowBattery: "sync", .whenBusy: "sync",
        ]
        let free = try policy(others)
        let slow = try policy(others.merging([key: "40s"]) { $1 })
        let paused = try policy(others.merging([key: "pause"]) { $1 })
        #expect(step(free, signals(apply)) == .checkpoint)
        #expect(
            SyncDecision.next(slow, signals(apply))
                == SyncDecision(step: .wait(10), reason: .restrained(cause, seconds: 40)))
        #expect(
            step(
                slow,
                signals {
                    apply(&$0); $0.sinceLast = 40
                }) == .checkpoint)
        #expect(SyncDecision.next(paused, signals(apply)) == SyncDecision(step: .hold, reason: .paused(cause)))
        // And not without its cause.
        #expect(step(paused, signals { $0.sinceLast = 30 }) == .checkpoint)
    }

    @Test func aBatteryIsLowBelowAFifth() throws {
        let policy = try policy([.onLowBattery: "pause"])
        #expect(
            step(
                policy,
                signals {
                    $0.power = .battery(level: 0.2); $0.sinceLast = 2
                }) == .checkpoint)
        #expect(
            step(
                policy,
                signals {
                    $0.power = .battery(level: 0.199); $0.sinceLast = 2
                }) == .hold)
    }

    @Test func theStrictestRestraintCounts() throws {
        let policy = try policy([.onMetered: "5s", .onBattery: "1m", .whenBusy: "20s"])
        let all = signals {
            $0.isMetered = true
            $0.power = .battery(level: 0.5)
            $0.isBusy = true
            $0.sinceLast = 30
        }
        #expect(SyncDecision.next(policy, all).reason == .restrained(.battery, seconds: 60))
    }

    @Test func aPlaceThatIsNamedOutweighsTheGuessOfTheNetwork() throws {
        let policy = try policy([.onMetered: "pause"], places: ["home": "sync", "a1b2": "pause"])
        let atHome = signals {
            $0.isMetered = true; $0.place = ["ffff", "home"]; $0.sinceLast = 2
        }
        #expect(step(policy, atHome) == .checkpoint)
        #expect(SyncDecision.next(policy, signals { $0.place = ["a1b2"] }).reason == .paused(.place("a1b2")))
        #expect(
            step(
                policy,
                signals {
                    $0.isMetered = true; $0.place = ["elsewhere"]
                }) == .hold)
    }

    @Test func aPauseHoldsAlsoTheLastMoment() throws {
        let policy = try policy([.onMetered: "pause"])
        #expect(
            step(
                policy,
                signals {
                    $0.isMetered = true; $0.event = .hostSleeping
                }) == .hold)
    }

    // MARK: Caps

    @Test func aCapThatIsUsedUpHolds() throws {
        let policy = try policy([.capPerDay: "10MB", .capPerMonth: "100MB"])
        func used(_ today: UInt64, _ month: UInt64) -> SyncSignals {
            signals {
                $0.used.today.all = today
                $0.used.month.all = month
                $0.sinceLast = 2
            }
        }
        #expect(step(policy, used(9_999_999, 9_999_999)) == .checkpoint)
        #expect(step(policy, used(10_000_000, 10_000_000)) == .hold)
        #expect(step(policy, used(5, 100_000_000)) == .hold)
        #expect(step(policy, used(20_000_000, 20_000_000)) == .hold)
    }

    @Test func aPackThatWouldPassTheCapStays() throws {
        let policy = try policy([.capPerDay: "10MB"])
        let before = signals {
            $0.used.today.all = 9_000_000
            $0.unsent.nextPack = 1_000_001
            $0.sinceLast = 2
        }
        #expect(step(policy, before) == .hold)
        #expect(SyncDecision.capReason(policy, before, next: 1_000_001) != nil)
        #expect(SyncDecision.capReason(policy, before, next: 1_000_000) == nil)
        #expect(
            step(
                policy,
                signals {
                    $0.used.today.all = 9_000_000; $0.unsent.nextPack = 1_000_000; $0.sinceLast = 2
                }) == .checkpoint)
    }

    @Test func aCapOfMeteredBytesCountsOnlyThose() throws {
        let policy = try policy([.capPerDay: "10MB", .capScope: "metered", .onMetered: "sync"])
        let used = signals {
            $0.used.today.all = 50_000_000
            $0.used.today.metered = 9_000_000
            $0.isMetered = true
            $0.sinceLast = 2
        }
        #expect(step(policy, used) == .checkpoint)
        var more = used
        more.used.today.metered = 10_000_000
        #expect(step(policy, more) == .hold)
        more.isMetered = false
        #expect(step(policy, more) == .checkpoint)
    }

    // MARK: The promise

    @Test func aPromiseMakesACheckpointDueWhenWhatIsUnsentFillsTheRoom() throws {
        let policy = try policy([.switchWithin: "1s"])
        let room = signals().forecast.room(within: 1)
        // 0.9 s less two overheads, over a link up and down.
        #expect((300_000...450_000).contains(room), "\(room)")
        func unsent(_ bytes: Double, deviation: Double = 0, growth: Double = 0) -> SyncDecision {
            SyncDecision.next(
                policy,
                signals {
                    $0.unsent.written = Estimate(bytes, deviation: deviation)
                    $0.unsent.growth = Estimate(growth)
                })
        }
        #expect(unsent(room * 0.99) == SyncDecision(step: .wait(SyncDecision.look), reason: .promise(1)))
        #expect(unsent(room) == SyncDecision(step: .checkpoint, reason: .promise(1)))
        // What can't be known well, or will be there at the next look, counts as there.
        #expect(unsent(room * 0.8, deviation: room * 0.1).step == .checkpoint)
        #expect(unsent(room * 0.8, growth: room).step == .checkpoint)
        #expect(unsent(room * 0.8).step == .wait(SyncDecision.look))
    }

    @Test func aPromiseCountsWhatIsOnItsWayToo() throws {
        let policy = try policy([.switchWithin: "1s"])
        let room = signals().forecast.room(within: 1)
        let both = signals {
            $0.unsent.written = Estimate(room * 0.6)
            $0.unsent.waiting = room * 0.6
        }
        #expect(step(policy, both) == .checkpoint)
    }

    @Test func aPromiseThatCannotBeKeptIsApproachedWithoutHaste() throws {
        let policy = try policy([.switchWithin: "50ms"])
        #expect(step(policy, signals { $0.sinceLast = 0.1 }) == .wait(SyncDecision.look))
        #expect(step(policy, signals { $0.sinceLast = 0.3 }) == .checkpoint)
    }

    @Test func withAPromiseTimeStillBoundsWhatALostDeviceLoses() throws {
        let policy = try policy([.switchWithin: "20s"])
        #expect(
            step(
                policy,
                signals {
                    $0.sinceLast = 59; $0.unsent.written = Estimate(10)
                }) == .wait(0.25))
        #expect(
            step(
                policy,
                signals {
                    $0.sinceLast = 60; $0.unsent.written = Estimate(10)
                }) == .checkpoint)
    }
}

@Suite struct FollowDecisionTests {
    private func follow(
        _ policy: SyncPolicy, _ signals: SyncSignals, pack: UInt64 = 1000, since: Double? = 1, behind: UInt64 = 1,
        share: Double = 0.1
    ) -> SyncDecision.Step {
        SyncDecision.follow(
            policy, signals, .init(nextPack: pack, sinceLast: since, behind: behind, share: share)
        ).step
    }

    @Test func aStandbyFollows() throws { #expect(follow(try policy(), signals()) == .checkpoint) }

    @Test func capsAndRestraintsHoldOnAStandbyToo() throws {
        let policy = try policy([.capPerDay: "10MB", .onMetered: "1m", .onBattery: "pause"])
        #expect(follow(policy, signals { $0.used.today.all = 9_999_500 }) == .hold)
        #expect(follow(policy, signals { $0.used.today.all = 9_999_000 }) == .checkpoint)
        #expect(follow(policy, signals { $0.isMetered = true }, since: 20) == .wait(40))
        #expect(follow(policy, signals { $0.isMetered = true }, since: 60) == .checkpoint)
        #expect(follow(policy, signals { $0.isMetered = true }, since: nil) == .checkpoint)
        #expect(follow(policy, signals { $0.power = .battery(level: 0.9) }) == .hold)
    }

    @Test func aLinkThatIsTooSlowForEachPackWaitsForAMergedOne() throws {
        #expect(follow(try policy(), signals(), behind: 99, share: 0.71) == .wait(nil))
        #expect(follow(try policy(), signals(), behind: 100, share: 0.71) == .checkpoint)
        #expect(follow(try policy(), signals(), behind: 99, share: 0.7) == .checkpoint)
    }
}
