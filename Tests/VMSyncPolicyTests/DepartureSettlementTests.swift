import Testing
import VMSyncCore
import VMSyncPolicy

@Suite("Settling a departure") struct DepartureSettlementTests {
    private let source = DeviceID.random()
    private let target = DeviceID.random()
    private let release = Tenure.Departure(sequence: Sequence(rawValue: 8), then: .release)

    private func settle(
        _ departure: Tenure.Departure, holdsLease: Bool = true, lastSwitch: SwitchRecord? = nil, isSealed: Bool = false,
        replica: UInt64 = 7, hasGuest: Bool = true, isShutDown: Bool = false
    ) -> DepartureSettlement {
        departure.settlement(
            holdsLease: holdsLease, lastSwitch: lastSwitch, isSealed: isSealed, replica: Sequence(rawValue: replica),
            hasGuest: hasGuest, isShutDown: isShutDown)
    }

    private func move(_ state: SwitchState) throws -> (Tenure.Departure, SwitchRecord) {
        var lease = LeaseState(vm: .random(), epoch: Epoch(rawValue: 3), holder: source)
        let id = SwitchID.random()
        _ = try lease.requestSwitch(id, to: target, at: Timestamp(rawValue: 0))
        if state == .ready { _ = try lease.answer(.ready(at: .base), to: id, by: target, at: Timestamp(rawValue: 0)) }
        if state == .failed { _ = try lease.answer(.fail(.init()), to: id, by: target, at: Timestamp(rawValue: 0)) }
        return (.init(sequence: Sequence(rawValue: 8), then: .move(id)), try #require(lease.lastSwitch))
    }

    @Test func whatIsSealedIsSentAgainWhileItMayStillEndTheTenure() throws {
        #expect(settle(release, isSealed: true, replica: 8) == .commitAgain)
        let (departure, ready) = try move(.ready)
        #expect(settle(departure, lastSwitch: ready, isSealed: true, replica: 8) == .commitAgain)
    }

    @Test func theGuestGoesOnOnlyWhenNothingCanMoveTheLeaseAnyMore() throws {
        #expect(settle(release) == .goOn)
        let (failed, record) = try move(.failed)
        #expect(settle(failed, lastSwitch: record, isSealed: true, replica: 8) == .goOn)
        let (departure, ready) = try move(.ready)
        #expect(settle(departure, lastSwitch: ready) == .failThenGoOn(ready.id))
        let (_, another) = try move(.ready)
        #expect(settle(departure, lastSwitch: another) == .goOn)
    }

    @Test func theDisksOfAGuestThatShutDownAreSealedFirst() {
        #expect(settle(release, isShutDown: true) == .sealOff)
        #expect(settle(release, hasGuest: false, isShutDown: true) == .sealOff)
    }

    @Test func whoHasNoLeaseAnyMoreIsAStandby() {
        #expect(settle(release, holdsLease: false, isSealed: true, replica: 8) == .stepBack)
        #expect(settle(release, holdsLease: false, replica: 8) == .stepBack)
        #expect(settle(release, holdsLease: false, hasGuest: false) == .stepBack)
    }

    /// Memory that the guest changed since its last checkpoint would pass for that checkpoint's.
    @Test func workThatIsInNoCheckpointIsKeptBeforeTheDeviceFollows() {
        #expect(settle(release, holdsLease: false) == .keepLateWork)
        #expect(settle(release, holdsLease: false, hasGuest: false, isShutDown: true) == .keepLateWork)
    }
}
