import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy

/// The device, checkpoint and time that each test needs.
struct LeaseFixture {
    let laptop = DeviceID.random()
    let desktop = DeviceID.random()
    let noon = Timestamp(rawValue: 1_700_000_000_000)
    var state = LeaseState(vm: .random())

    func offer(
        _ sequence: UInt64, after parent: UInt64? = nil, epoch: UInt64 = 1, content: UInt8 = 1,
        kind: CheckpointKind = .live, then: AfterCommit = .keep
    ) -> CommitOffer {
        CommitOffer(
            epoch: Epoch(rawValue: epoch), sequence: Sequence(rawValue: sequence),
            parent: Sequence(rawValue: parent ?? max(sequence, 1) - 1), kind: kind, size: 10,
            checksum: ContentHash(digest: [UInt8](repeating: content, count: 32)), then: then)
    }

    /// The state with the laptop active under epoch 1.
    static func active() throws -> LeaseFixture {
        var fixture = LeaseFixture()
        _ = try fixture.state.acquire(by: fixture.laptop)
        return fixture
    }
}

func code(_ body: () throws -> Void) -> VMSyncError.Code? {
    do {
        try body()
        return nil
    } catch {
        return VMSyncError(error).code
    }
}

@Suite struct LeaseStateTests {
    @Test func aFreeLeaseGoesToWhoAsksUnderTheNextEpoch() throws {
        var lease = LeaseFixture()
        #expect(try lease.state.acquire(by: lease.laptop) == Epoch(rawValue: 1))
        #expect(lease.state.holder == lease.laptop)
    }

    @Test func theHolderGetsItsEpochAgainAndNobodyElseGetsTheLease() throws {
        var lease = try LeaseFixture.active()
        #expect(try lease.state.acquire(by: lease.laptop) == Epoch(rawValue: 1))
        let before = lease.state
        #expect(code { _ = try lease.state.acquire(by: lease.desktop) } == .leaseHeld)
        #expect(lease.state == before)
    }

    @Test func whoTakesOverTakesWhatHeHasSeenAndNothingElse() throws {
        var lease = try LeaseFixture.active()
        let seen = lease.state.epoch
        #expect(try lease.state.acquire(by: lease.desktop, force: true, seen: seen) == seen.afterForce)
        let before = lease.state
        // The second of two that saw the same comes too late, and so does the first one's answer to it.
        #expect(code { _ = try lease.state.acquire(by: lease.laptop, force: true, seen: seen) } == .fenced)
        #expect(lease.state == before)
        // Asked again by whoever has it: the answer was lost.
        #expect(try lease.state.acquire(by: lease.desktop, force: true, seen: seen) == seen.afterForce)
    }

    @Test func whatWasHandedOverDirectlyIsTheNewHoldersUnderItsEpoch() throws {
        var lease = try LeaseFixture.active()
        let (seen, now) = (lease.state.epoch, Epoch(rawValue: lease.state.epoch.rawValue + 3))
        let word = Data([1, 2, 3])
        func hear(_ from: DeviceID, _ seen: Epoch, _ epoch: Epoch) -> VMSyncError.Code? {
            code {
                try lease.state.handedOver(from: from, seen, to: lease.desktop, under: epoch, word: word)
            }
        }
        #expect(hear(lease.desktop, seen, now) == .fenced, "who didn't have it can't have given it")
        #expect(hear(lease.laptop, seen.next, now) == .fenced)
        #expect(hear(lease.laptop, seen, seen) == .invalidInput)
        #expect(hear(lease.laptop, seen, seen.afterForce) == .invalidInput, "so many there can't have been")
        #expect(lease.state.holder == lease.laptop && lease.state.epoch == seen)
        #expect(hear(lease.laptop, seen, now) == nil)
        #expect(lease.state.holder == lease.desktop && lease.state.epoch == now && lease.state.release == word)
        #expect(hear(lease.laptop, seen, now) == nil, "said again")
        // What the former holder sends now comes too late.
        #expect(code { try lease.state.release(by: lease.laptop, epoch: seen) } == .fenced)
    }

    @Test func whatWasGivenToALostDeviceIsTakenBackPastAnyHandover() throws {
        var lease = try LeaseFixture.active()
        let seen = lease.state.epoch
        try lease.state.handedOver(from: lease.laptop, seen, to: lease.laptop, under: seen.afterForce, word: nil)
        #expect(lease.state.holder == lease.laptop && lease.state.epoch == seen.afterForce)
        #expect(
            code {
                try lease.state.handedOver(from: lease.laptop, seen, to: lease.desktop, under: seen.next, word: nil)
            } == .fenced)
    }

    @Test func whoTakesItByForceGetsAnEpochThatNoHandoverHasReached() throws {
        var lease = try LeaseFixture.active()
        let seen = lease.state.epoch
        let forced = try lease.state.acquire(by: lease.desktop, force: true)
        #expect(forced.rawValue >= seen.rawValue + UInt64(Handovers.countMax) && forced.rawValue % Epoch.stride == 0)
        #expect(
            code {
                try lease.state.handedOver(from: lease.laptop, seen, to: lease.laptop, under: seen.next, word: nil)
            } == .fenced)
        #expect(try lease.state.acquire(by: lease.laptop, force: true) == forced.afterForce)
        #expect(forced.afterForce.rawValue == forced.rawValue + Epoch.stride)
        // A device that is cut off may have handed it over too.
        lease.state.revoke(lease.laptop)
        #expect(lease.state.holder == nil && lease.state.epoch == forced.afterForce.afterForce)
    }

    @Test func releaseNeedsHolderAndEpochAndMayBeRepeated() throws {
        var lease = try LeaseFixture.active()
        let one = Epoch(rawValue: 1)
        #expect(code { try lease.state.release(by: lease.desktop, epoch: one) } == .fenced)
        #expect(code { try lease.state.release(by: lease.laptop, epoch: one.next) } == .fenced)
        try lease.state.release(by: lease.laptop, epoch: one)
        try lease.state.release(by: lease.laptop, epoch: one)
        #expect(lease.state.holder == nil)
        #expect(try lease.state.acquire(by: lease.desktop) == one.next)
        #expect(code { try lease.state.release(by: lease.laptop, epoch: one) } == .fenced)
    }

    @Test func aVMIsDeletableOnlyWhileNobodyIsActive() throws {
        var lease = try LeaseFixture.active()
        #expect(code { try lease.state.checkDeletable() } == .wrongState)
        try lease.state.release(by: lease.laptop, epoch: lease.state.epoch)
        try lease.state.checkDeletable()
    }

    @Test func commitsMakeTheHeadOneByOne() throws {
        var lease = try LeaseFixture.active()
        for sequence in UInt64(1)...3 {
            let decision = try lease.state.commit(lease.offer(sequence), by: lease.laptop, known: nil, at: lease.noon)
            #expect(decision == .accepted(try #require(lease.state.head)))
            #expect(lease.state.headSequence.rawValue == sequence)
        }
    }

    @Test func aCommitOutOfOrderOrUnderAnotherEpochOrByAnotherDeviceChangesNothing() throws {
        var lease = try LeaseFixture.active()
        _ = try lease.state.commit(lease.offer(1), by: lease.laptop, known: nil, at: lease.noon)
        let before = lease.state
        let refused: [(CommitOffer, VMSyncError.Code)] = [
            (lease.offer(1, content: 2), .outOfOrder), (lease.offer(3), .outOfOrder), (lease.offer(0), .outOfOrder),
            (lease.offer(1, after: 1, content: 2), .outOfOrder), (lease.offer(2, after: 0), .outOfOrder),
            (lease.offer(2, epoch: 0), .fenced), (lease.offer(2, epoch: 2), .fenced),
        ]
        for (offer, expected) in refused {
            #expect(
                code { _ = try lease.state.commit(offer, by: lease.laptop, known: before.head, at: lease.noon) }
                    == expected)
        }
        #expect(
            code { _ = try lease.state.commit(lease.offer(2), by: lease.desktop, known: nil, at: lease.noon) }
                == .fenced)
        #expect(lease.state == before)
    }

    @Test func aCheckpointThatOthersWereMergedIntoFollowsTheHeadAllTheSame() throws {
        var lease = try LeaseFixture.active()
        _ = try lease.state.commit(lease.offer(1), by: lease.laptop, known: nil, at: lease.noon)
        let merged = lease.offer(7, after: 1)
        let record = try lease.state.commit(merged, by: lease.laptop, known: nil, at: lease.noon).record
        #expect(lease.state.headSequence == Sequence(rawValue: 7))
        let again = try lease.state.commit(merged, by: lease.laptop, known: record, at: lease.noon)
        #expect(again == .repeated(record))
    }

    @Test func aRepeatedCommitGetsTheSameAnswerAlsoAfterItGaveTheLeaseAway() throws {
        var lease = try LeaseFixture.active()
        let offer = lease.offer(1, then: .release)
        let record = try lease.state.commit(offer, by: lease.laptop, known: nil, at: lease.noon).record
        let after = lease.state
        #expect(after.holder == nil)
        let later = lease.noon + .seconds(5)
        #expect(try lease.state.commit(offer, by: lease.laptop, known: record, at: later) == .repeated(record))
        #expect(lease.state == after)
    }

    @Test func theDetailOfARefusalNamesHeadEpochAndHolder() throws {
        var lease = try LeaseFixture.active()
        do {
            _ = try lease.state.commit(lease.offer(7), by: lease.laptop, known: nil, at: lease.noon)
            Issue.record("a commit out of order was accepted")
        } catch {
            #expect(error.message.contains("head 0, epoch 1, active on \(lease.laptop)"))
        }
    }
}
