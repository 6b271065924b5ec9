import Testing
import VMSyncCore
import VMSyncPolicy

@Suite("Adoption") struct AdoptionTests {
    private let seven = Sequence(rawValue: 7)
    private let tenure = Tenure(epoch: Epoch(rawValue: 3))

    private func leaving(_ then: AfterCommit = .release, isOff: Bool = false) -> Tenure {
        tenure.departing(.init(sequence: Sequence(rawValue: 8), then: then, isOff: isOff))
    }

    @Test func withoutATenureNothingHasRunHere() {
        #expect(Adoption(tenure: nil, found: nil, replica: seven) == .nothing)
        for found in FoundMachine.allCases {
            #expect(Adoption(tenure: nil, found: found, replica: seven) == .end)
        }
    }

    @Test func aGuestThatHasNotRunBeginsAgain() {
        #expect(Adoption(tenure: tenure, found: .waiting, replica: seven) == .endAndForget)
        #expect(Adoption(tenure: leaving(), found: .waiting, replica: seven) == .endAndForget)
    }

    @Test func aGuestThatIsNotLeavingRunsOn() {
        for found in [FoundMachine.running, .saved, .paused] {
            #expect(Adoption(tenure: tenure, found: found, replica: seven) == .letRun)
            #expect(Adoption(tenure: leaving(), found: found, replica: seven) == .hold)
        }
    }

    @Test func aGuestWhoseVMWentOnElsewhereStandsStill() {
        for found in [FoundMachine.running, .saved, .paused, .shutDown] {
            #expect(Adoption(tenure: tenure.diverged, found: found, replica: seven) == .standStill)
        }
    }

    @Test func aGuestThatHasShutDownIsSaved() {
        #expect(Adoption(tenure: tenure, found: .shutDown, replica: seven) == .shutDown)
        #expect(Adoption(tenure: leaving(isOff: true), found: .saved, replica: seven) == .shutDown)
        #expect(Adoption(tenure: leaving(isOff: true), found: nil, replica: seven) == .shutDown)
    }

    @Test func whatRanHereIsLostWithItsQEMUUnlessItWasSealed() {
        #expect(Adoption(tenure: tenure, found: nil, replica: seven) == .lost)
        #expect(Adoption(tenure: leaving(), found: nil, replica: seven) == .lost)
        #expect(Adoption(tenure: leaving(), found: nil, replica: seven.next) == .nothing)
        #expect(Adoption(tenure: leaving(isOff: true), found: nil, replica: seven.next) == .nothing)
    }

    /// Its disks were those of the base again, and would have been saved as those of the guest.
    @Test func aGuestThatShutDownBeforeAPowerLossIsLostIfItsReplicaBeganAgain() {
        #expect(Adoption(tenure: leaving(isOff: true), found: nil, replica: .base) == .lost)
    }
}
