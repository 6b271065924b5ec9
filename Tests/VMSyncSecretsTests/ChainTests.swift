import Foundation
import Testing
import VMSyncCore
import VMSyncSecrets

@Suite("The chain of checkpoints") struct ChainTests {
    private let laptop: DeviceKeys
    private let desktop: DeviceKeys
    private var roster = Roster()
    private let vm = VMID.random()

    init() throws {
        laptop = try DeviceKeys(now: 1_700_000_000)
        desktop = try DeviceKeys(now: 1_700_000_000)
        try roster.take(try Roster.founding(by: laptop, recovery: try RecoveryKey.random().identity))
        try roster.take(try roster.entry(.admit(desktop.identity), by: laptop))
    }

    private func statement(
        _ sequence: UInt64, after chain: Chain, epoch: UInt64 = 1, by device: DeviceKeys? = nil,
        then: Statement.Then = .keep, isForced: Bool = false, vm: VMID? = nil, checksum: String = "a",
        release: Signed<Release>? = nil
    ) throws -> Signed<Statement> {
        let device = device ?? laptop
        let sum = try #require(ContentHash(rawValue: String(repeating: checksum, count: 64)))
        return try Signed<Statement>(
            Statement(
                vm: vm ?? self.vm, device: device.id, sequence: Sequence(rawValue: sequence), parent: chain.point,
                epoch: Epoch(rawValue: epoch), isForced: isForced, release: release, isOff: false, size: 7,
                checksum: sum,
                digest: Data([1]), then: then), by: device)
    }

    private func isRefused(_ signed: Signed<Statement>, by chain: Chain, _ roster: Roster? = nil) -> Bool {
        var changed = chain
        do {
            try changed.take(signed, roster ?? self.roster)
            return false
        } catch {
            return changed == chain
        }
    }

    private func chain(_ statements: UInt64...) throws -> Chain {
        var chain = Chain(vm: vm)
        for sequence in statements { try chain.take(try statement(sequence, after: chain), roster) }
        return chain
    }

    @Test("statements of one device follow each other, with gaps where it merged some") func following() throws {
        var chain = try chain(1, 2, 5)
        let next = try statement(6, after: chain)
        #expect(try chain.take(next, roster).sequence == Sequence(rawValue: 6))
        let before = chain
        #expect(try chain.take(next, roster).sequence == Sequence(rawValue: 6), "the last one may come again")
        #expect(chain == before)
    }

    @Test("an old head, a dropped one, a swapped one and one of another VM are refused") func hostile() throws {
        let (two, three) = (try chain(1, 2), try chain(1, 2, 3))
        #expect(isRefused(try statement(3, after: two, checksum: "b"), by: three), "another history")
        #expect(isRefused(try statement(4, after: three), by: two), "one was left out")
        #expect(isRefused(try statement(3, after: two, vm: .random()), by: two), "of another VM")
        #expect(isRefused(try statement(2, after: two), by: two), "no higher number")
        let forged = try DeviceKeys(now: 1_700_000_000)
        #expect(isRefused(try statement(3, after: two, by: forged), by: two), "of a stranger")
    }

    @Test("the VM is another device's only after the one before has said so") func rights() throws {
        var chain = try chain(1)
        #expect(isRefused(try statement(2, after: chain, epoch: 2, by: desktop), by: chain), "nobody gave it away")
        #expect(isRefused(try statement(2, after: chain, epoch: 2), by: chain), "a foreign epoch")
        try chain.take(try statement(2, after: chain, then: .move(to: desktop.id)), roster)
        #expect(isRefused(try statement(3, after: chain, epoch: 2), by: chain), "it was given to another")
        #expect(isRefused(try statement(3, after: chain, epoch: 3, by: desktop), by: chain), "under another epoch")
        try chain.take(try statement(3, after: chain, epoch: 2, by: desktop, then: .release), roster)
        #expect(isRefused(try statement(4, after: chain, epoch: 2, by: desktop), by: chain), "it was released")
        try chain.take(try statement(4, after: chain, epoch: 5), roster)
    }

    @Test("a device runs the VM only where the last statement lets it") func running() throws {
        var chain = try chain(1)
        func allowed(_ device: DeviceKeys, _ epoch: UInt64) -> Bool {
            chain.mayFollow(device.id, under: Epoch(rawValue: epoch), after: nil, roster)
        }
        #expect(allowed(laptop, 1) && !allowed(laptop, 2) && !allowed(desktop, 1) && !allowed(desktop, 2))
        try chain.take(try statement(2, after: chain, then: .move(to: desktop.id)), roster)
        #expect(allowed(desktop, 2) && !allowed(desktop, 3) && !allowed(laptop, 2) && !allowed(laptop, 1))
        try chain.take(try statement(3, after: chain, epoch: 2, by: desktop, then: .release), roster)
        #expect(allowed(laptop, 3) && allowed(desktop, 7) && !allowed(desktop, 2))
    }

    @Test("a device that was given the VM and did not run it gives it to whoever comes next") func release() throws {
        var chain = try chain(1)
        try chain.take(try statement(2, after: chain, then: .move(to: desktop.id)), roster)
        let place = try #require(chain.point)
        let earlier = ChainPoint(sequence: Sequence(rawValue: 1), hash: place.hash)
        func release(_ device: DeviceKeys, _ signer: DeviceKeys, after: ChainPoint) throws -> Signed<Release> {
            try Signed(Release(vm: vm, device: device.id, after: after), by: signer)
        }
        let good = try release(desktop, desktop, after: place)
        let next = Epoch(rawValue: 3)
        #expect(chain.mayFollow(laptop.id, under: next, after: good, roster))
        #expect(!chain.mayFollow(laptop.id, under: next, after: nil, roster))
        #expect(!chain.mayFollow(laptop.id, under: Epoch(rawValue: 1), after: good, roster))
        for bad in [
            try release(laptop, laptop, after: place), try release(desktop, laptop, after: place),
            try release(desktop, desktop, after: earlier),
        ] { #expect(!chain.mayFollow(laptop.id, under: next, after: bad, roster)) }
        #expect(isRefused(try statement(3, after: chain, epoch: 3), by: chain))
        try chain.take(try statement(3, after: chain, epoch: 3, release: good), roster)
    }

    @Test("a device that could not go on gives the VM back too, and doesn't run it then") func givingBack() throws {
        var chain = try chain(1)
        let place = try #require(chain.point)
        let word = try Signed(Release(vm: vm, device: laptop.id, after: place), by: laptop)
        let next = Epoch(rawValue: 2)
        #expect(chain.isNamed(laptop.id) && !chain.isNamed(desktop.id))
        #expect(!chain.mayFollow(desktop.id, under: next, after: nil, roster))
        #expect(chain.mayFollow(desktop.id, under: next, after: word, roster))
        chain.noteRelease(of: Epoch(rawValue: 1))
        #expect(chain.hasReleased(Epoch(rawValue: 1)) && !chain.hasReleased(next))
        try chain.take(try statement(2, after: chain, epoch: 2, by: desktop, then: .release, release: word), roster)
        #expect(!chain.isNamed(laptop.id) && !chain.isNamed(desktop.id) && chain.isAtMemory)
        chain.restart()
        #expect(!chain.isAtMemory)
    }

    @Test("a revoked device can't sign another history that ends below its revocation") func revokedFork() throws {
        var known = Chain(vm: vm)
        let one = try statement(1, after: known, by: desktop)
        try known.take(one, roster)
        let real = try statement(5, after: known, by: desktop)
        let fork = try statement(3, after: known, by: desktop, then: .release)
        var after = roster
        let end = ChainPoint(sequence: Sequence(rawValue: 5), hash: real.hash)
        try after.take(try after.entry(.revoke(desktop.id, heads: [vm: end]), by: laptop))
        var fresh = Chain(vm: vm)
        try fresh.take(one, after)
        var forked = fresh
        try forked.take(fork, after)
        #expect(isRefused(try statement(6, after: forked, epoch: 2), by: forked, after), "it passes by what counts")
        try fresh.take(real, after)
        try fresh.take(try statement(6, after: fresh, epoch: 2), after)
    }

    @Test("who follows the history again must come by what was believed before") func memory() throws {
        var chain = Chain(vm: vm)
        let (one, two) = (try statement(1, after: chain), try statement(1, after: chain, checksum: "b"))
        try chain.take(one, roster)
        let last = try statement(3, after: chain)
        try chain.take(last, roster)
        #expect(throws: VMSyncError.self) { try chain.check(head: Sequence(rawValue: 2)) }
        try chain.check(head: Sequence(rawValue: 3))
        chain.restart()
        var other = chain
        try other.take(two, roster)
        #expect(isRefused(try statement(3, after: other), by: other), "another one in its place")
        #expect(isRefused(try statement(4, after: other), by: other), "none in its place")
        try chain.take(one, roster)
        #expect(isRefused(try statement(4, after: chain), by: chain), "it was left out")
        try chain.take(last, roster)
        try chain.take(try statement(4, after: chain), roster)
        #expect(chain.memory?.sequence == Sequence(rawValue: 4))
    }

    private func link(
        from chain: Chain, to end: Signed<Statement>, at sequence: UInt64, by device: DeviceKeys? = nil, vm: VMID? = nil
    ) throws -> Signed<SpanLink> {
        let device = device ?? desktop
        let last = ChainPoint(sequence: Sequence(rawValue: sequence), hash: end.hash)
        let sum = try #require(ContentHash(rawValue: String(repeating: "c", count: 64)))
        return try Signed(
            SpanLink(vm: vm ?? self.vm, device: device.id, first: chain.point, last: last, size: 9, checksum: sum),
            by: device)
    }

    @Test("a member's link leads over what lies between, and no other does") func links() throws {
        let one = try chain(1)
        var whole = one
        for sequence in UInt64(2)...9 { try whole.take(try statement(sequence, after: whole), roster) }
        let end = try statement(10, after: whole, epoch: 1)
        var short = one
        try short.take(end, by: try link(from: one, to: end, at: 10), roster)
        try whole.take(end, roster)
        #expect(short == whole, "it stands where one stands that has followed all")
        try short.take(try statement(11, after: whole), roster)

        let stranger = try DeviceKeys(now: 1_700_000_000)
        let other = try statement(10, after: one)
        let wrong = [
            try link(from: one, to: end, at: 10, by: stranger), try link(from: whole, to: end, at: 10),
            try link(from: one, to: other, at: 10), try link(from: one, to: end, at: 9),
            try link(from: one, to: end, at: 10, vm: .random()), try link(from: Chain(vm: vm), to: end, at: 10),
        ]
        for link in wrong {
            var refused = one
            #expect(throws: VMSyncError.self) { try refused.take(end, by: link, roster) }
            #expect(refused == one)
        }
        // Of a device that was revoked no link counts, and what it led to doesn't either if it came too late.
        var after = roster
        try after.take(try after.entry(.revoke(desktop.id, heads: [:]), by: laptop))
        var refused = one
        #expect(throws: VMSyncError.self) {
            try refused.take(end, by: try link(from: one, to: end, at: 10), after)
        }
        try refused.take(end, by: try link(from: one, to: end, at: 10, by: laptop), after)
        let forged = try statement(10, after: one, by: desktop)
        refused = one
        #expect(throws: VMSyncError.self) {
            try refused.take(forged, by: try link(from: one, to: forged, at: 10, by: laptop), after)
        }
    }

    @Test("a link leads over what was believed before, and at its end must agree with it") func linkMemory() throws {
        var chain = try chain(1, 2, 3)
        let last = try #require(chain.point)
        let next = try statement(4, after: chain)
        let other = try statement(3, after: try self.chain(1, 2), checksum: "b")
        chain.restart()
        #expect(throws: VMSyncError.self) { try chain.take(other, by: try link(from: chain, to: other, at: 3), roster) }
        #expect(chain.memory == last && chain.point == nil)
        try chain.take(next, by: try link(from: chain, to: next, at: 4), roster)
        #expect(chain.isAtMemory && chain.memory != last)
    }

    @Test("who takes over by force says so, and under a higher epoch") func force() throws {
        var chain = try chain(1)
        #expect(isRefused(try statement(2, after: chain, epoch: 1, by: desktop, isForced: true), by: chain))
        try chain.take(try statement(2, after: chain, epoch: 2, by: desktop, isForced: true), roster)
        #expect(isRefused(try statement(3, after: chain, epoch: 1), by: chain), "the one before is fenced")
    }

    @Test("what a revoked device said counts up to its revocation") func revoked() throws {
        var known = Chain(vm: vm)
        let one = try statement(1, after: known, by: desktop)
        try known.take(one, roster)
        let second = try statement(2, after: known, by: desktop)
        let head = try #require(known.point)
        var after = roster
        try after.take(try after.entry(.revoke(desktop.id, heads: [vm: head]), by: laptop))
        var fresh = Chain(vm: vm)
        try fresh.take(one, after)
        #expect(isRefused(second, by: fresh, after))
        // Its word isn't needed any more: who takes over from it needs no force.
        #expect(fresh.mayFollow(laptop.id, under: Epoch(rawValue: 2), after: nil, after))
        // Who follows later believes the two that it has signed before, one after the other.
        var both = roster
        try both.take(
            try both.entry(
                .revoke(desktop.id, heads: [vm: ChainPoint(sequence: Sequence(rawValue: 2), hash: second.hash)]),
                by: laptop))
        var later = Chain(vm: vm)
        try later.take(one, both)
        try later.take(second, both)
        #expect(!fresh.mayFollow(laptop.id, under: Epoch(rawValue: 2), after: nil, roster))
        var none = roster
        try none.take(try none.entry(.revoke(desktop.id, heads: [:]), by: laptop))
        #expect(isRefused(one, by: Chain(vm: vm), none))
    }
}
