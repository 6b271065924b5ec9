import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy

/// The rules of docs/protocol/direct.md.
@Suite struct HandoverTests {
    private static let (laptop, desktop, tablet) = (DeviceID.random(), DeviceID.random(), DeviceID.random())

    private static func handover(_ from: DeviceID, _ to: DeviceID, _ epoch: UInt64) -> Handover {
        Handover(
            id: .random(), from: from, to: to, epoch: Epoch(rawValue: epoch), sequence: Sequence(rawValue: 9), words: []
        )
    }

    private static func of(_ list: Handover...) throws -> Handovers {
        var handovers = Handovers()
        for next in list { try handovers.add(next) }
        return handovers
    }

    @Test func theLeaseIsWhereTheLastHandoverBroughtIt() throws {
        let both = try Self.of(Self.handover(Self.laptop, Self.desktop, 4), Self.handover(Self.desktop, Self.tablet, 5))
        for (holder, epoch) in [(Self.laptop, 4), (Self.desktop, 5), (Self.tablet, 6)] as [(DeviceID, UInt64)] {
            let actual = both.actual(holder, Epoch(rawValue: epoch))
            #expect(actual.holder == Self.tablet && actual.epoch == Epoch(rawValue: 6))
        }
        // What the server says otherwise holds.
        for (holder, epoch) in [(Self.laptop, 5), (Self.desktop, 4), (Self.laptop, 65_536)] as [(DeviceID, UInt64)] {
            let actual = both.actual(holder, Epoch(rawValue: epoch))
            #expect(actual.holder == holder && actual.epoch == Epoch(rawValue: epoch))
        }
        #expect(both.actual(nil, Epoch(rawValue: 4)).holder == nil)
    }

    @Test func oneFollowsTheOther() throws {
        var handovers = try Self.of(Self.handover(Self.laptop, Self.desktop, 4))
        let before = handovers
        #expect(code { try handovers.add(Self.handover(Self.laptop, Self.tablet, 5)) } == .wrongState, "it isn't there")
        #expect(code { try handovers.add(Self.handover(Self.desktop, Self.tablet, 6)) } == .wrongState)
        #expect(handovers == before)
        // Said again.
        try handovers.add(try #require(handovers.last))
        #expect(handovers == before)
        handovers.removeLast()
        #expect(handovers.isEmpty)
    }

    @Test func countingOnNeverReachesWhatForceGives() {
        for epoch in [Epoch.stride - 1, 3 * Epoch.stride - 1, .max] {
            #expect(code { _ = try Self.of(Self.handover(Self.laptop, Self.desktop, epoch)) } == .wrongState)
        }
        #expect(code { _ = try Self.of(Self.handover(Self.laptop, Self.desktop, Epoch.stride - 2)) } == nil)
    }

    @Test func theServerMustHearOfThemInTheEnd() throws {
        var handovers = Handovers()
        var (holder, other) = (Self.laptop, Self.desktop)
        for epoch in 1...UInt64(Handovers.countMax) {
            try handovers.add(Self.handover(holder, other, epoch))
            (holder, other) = (other, holder)
        }
        #expect(code { try handovers.add(Self.handover(holder, other, UInt64(Handovers.countMax) + 1)) } == .wrongState)
    }

    @Test func whatTheServerKnowsIsForgottenButForItsName() throws {
        let (first, second) = (
            Self.handover(Self.laptop, Self.desktop, 4), Self.handover(Self.desktop, Self.laptop, 5)
        )
        var handovers = try Self.of(first, second)
        #expect(handovers.untold(Self.laptop, Epoch(rawValue: 4)) == first)
        #expect(handovers.untold(Self.desktop, Epoch(rawValue: 5)) == second)
        #expect(handovers.untold(Self.desktop, Epoch(rawValue: 4)) == nil)
        handovers.settle(at: Epoch(rawValue: 4))
        #expect(handovers.list == [first, second])
        handovers.settle(at: Epoch(rawValue: 5))
        #expect(handovers.list == [second] && handovers.knows(first.id) && handovers.knows(second.id))
        handovers.settle(at: Epoch(rawValue: 6))
        #expect(handovers.isEmpty && handovers.knows(first.id) && handovers.knows(second.id))
        #expect(!handovers.knows(.random()))
        #expect(handovers.former == [first, second])
        // Nor does it forget them when the VM comes again.
        let next = Self.handover(Self.desktop, Self.laptop, 7)
        #expect(handovers.followed(by: try Self.of(next)).knows(first.id))
        #expect(handovers.followed(by: try Self.of(next)).list == [next])
    }

    @Test func whoHasNotHeardThatTheServerKnowsSomeKeepsThem() throws {
        let first = try Self.of(Self.handover(Self.laptop, Self.desktop, 4))
        let next = try Self.of(Self.handover(Self.desktop, Self.laptop, 5))
        let both = first.followed(by: next)
        #expect(both.list == first.list + next.list)
        #expect(both.actual(Self.laptop, Epoch(rawValue: 4)).epoch == Epoch(rawValue: 6))
        #expect(first.followed(by: both).list == both.list, "given in one")
    }
}
