import Foundation
import Testing
import VMSyncCore
import VMSyncSecrets

@Suite("The list of an account's devices") struct RosterTests {
    private let laptop: DeviceKeys
    private let desktop: DeviceKeys
    private let thief: DeviceKeys
    private let recovery: RecoveryKey
    private var roster = Roster()

    init() throws {
        laptop = try DeviceKeys(now: 1_700_000_000)
        desktop = try DeviceKeys(now: 1_700_000_000)
        thief = try DeviceKeys(now: 1_700_000_000)
        recovery = try RecoveryKey.random()
        try roster.take(try Roster.founding(by: laptop, recovery: recovery.identity))
    }

    private func isRefused(_ entry: RosterEntry, by roster: Roster) -> Bool {
        var changed = roster
        do {
            try changed.take(entry)
            return false
        } catch {
            return changed == roster
        }
    }

    @Test("an account begins with a device, and members admit and revoke others") func members() throws {
        var roster = roster
        let account = roster.account
        #expect(roster.members.keys.sorted { $0.rawValue < $1.rawValue } == [laptop.id])
        try roster.take(try roster.entry(.admit(desktop.identity), by: laptop))
        #expect(roster.members[desktop.id] == desktop.identity)
        try roster.take(try roster.entry(.revoke(laptop.id, heads: [:]), by: desktop))
        #expect(roster.members[laptop.id] == nil && roster.revoked[laptop.id] != nil)
        #expect(roster.account == account && roster.count == 3)
    }

    @Test("who is no member admits nobody, not even with the right form") func strangers() throws {
        #expect(isRefused(try roster.entry(.admit(thief.identity), by: thief), by: roster))
        #expect(isRefused(try Roster.founding(by: thief, recovery: recovery.identity), by: roster))
        // A revoked device is a stranger, and stays one.
        var after = roster
        try after.take(try after.entry(.admit(desktop.identity), by: laptop))
        try after.take(try after.entry(.revoke(desktop.id, heads: [:]), by: laptop))
        #expect(isRefused(try after.entry(.admit(thief.identity), by: desktop), by: after))
        #expect(isRefused(try after.entry(.admit(desktop.identity), by: laptop), by: after))
    }

    @Test("entries that are changed, left out, repeated or of another list are refused") func order() throws {
        let first = try roster.entry(.admit(desktop.identity), by: laptop)
        var second = roster
        try second.take(first)
        let next = try second.entry(.revoke(desktop.id, heads: [:]), by: laptop)
        #expect(isRefused(next, by: roster), "one was left out")
        #expect(isRefused(first, by: second), "one came twice")
        for offset in [0, 40, 70, 120, 300, first.bytes.count - 2] {
            var bytes = first.bytes
            bytes[offset] ^= 1
            #expect(isRefused(try RosterEntry(bytes: bytes), by: roster), "byte \(offset) was changed")
        }
        // Another account of the same device.
        var other = Roster()
        try other.take(try Roster.founding(by: laptop, recovery: try RecoveryKey.random().identity))
        #expect(isRefused(try other.entry(.admit(thief.identity), by: laptop), by: roster))
    }

    @Test("the recovery key lets a device in once, and then another one does") func recovering() throws {
        var roster = roster
        let next = try RecoveryKey.random()
        let typed = try RecoveryKey(typed: recovery.text.uppercased())
        let entry = try roster.recovering(desktop.identity, with: typed, next: next.identity)
        #expect(isRefused(try roster.recovering(thief.identity, with: next, next: next.identity), by: roster))
        try roster.take(entry)
        #expect(roster.members[desktop.id] != nil && roster.members[laptop.id] != nil)
        let again = try RecoveryKey.random().identity
        #expect(isRefused(try roster.recovering(thief.identity, with: typed, next: again), by: roster))
        try roster.take(try roster.recovering(thief.identity, with: next, next: again))
    }

    @Test("a recovery key with a wrong letter is refused") func wrongRecoveryKey() {
        #expect(throws: VMSyncError.self) { try RecoveryKey(typed: "nonsense") }
    }

    @Test("keys come back from their file, and not from a damaged one") func files() throws {
        let json = try laptop.json()
        let again = try DeviceKeys(json: json)
        #expect(again.id == laptop.id && again.identity == laptop.identity)
        #expect(throws: VMSyncError.self) { try DeviceKeys(json: json.dropLast(5)) }
        #expect(laptop.id != desktop.id && laptop.id.rawValue.count == 52)
    }
}

@Suite("Grants of keys") struct KeyGrantTests {
    private let laptop: DeviceKeys
    private let desktop: DeviceKeys
    private let recovery: RecoveryKey
    private var roster = Roster()
    private let vm = KeySubject.vm(.random())
    private let key = SubjectKey.random(generation: 3)

    init() throws {
        laptop = try DeviceKeys(now: 1_700_000_000)
        desktop = try DeviceKeys(now: 1_700_000_000)
        recovery = try RecoveryKey.random()
        try roster.take(try Roster.founding(by: laptop, recovery: recovery.identity))
        try roster.take(try roster.entry(.admit(desktop.identity), by: laptop))
    }

    @Test("the recipient gets the key, and nobody else") func recipients() throws {
        let grant = try KeyGrant(key, of: vm, to: desktop.identity, by: laptop)
        #expect(try grant.open(by: desktop, roster) == key)
        #expect(throws: VMSyncError.self) { try grant.open(by: laptop, roster) }
        #expect(throws: VMSyncError.self) { try grant.open(by: recovery, roster) }
        let forRecovery = try KeyGrant(key, of: vm, to: recovery.identity, by: laptop)
        #expect(try forRecovery.open(by: recovery, roster) == key)
        #expect(throws: VMSyncError.self) { try forRecovery.open(by: desktop, roster) }
    }

    @Test("a grant of somebody who is no member is refused, and so is one that was changed") func forgeries() throws {
        let stranger = try DeviceKeys(now: 1_700_000_000)
        let forged = try KeyGrant(key, of: vm, to: desktop.identity, by: stranger)
        #expect(throws: VMSyncError.self) { try forged.open(by: desktop, roster) }
        let grant = try KeyGrant(key, of: vm, to: desktop.identity, by: laptop)
        let json = try #require(String(data: try JSONEncoder().encode(grant), encoding: .utf8))
        for (old, new) in [("\"generation\":3", "\"generation\":4"), ("\"vm\"", "\"account\"")] {
            let changed = json.replacingOccurrences(of: old, with: new)
            #expect(changed != json)
            guard let other = try? JSONDecoder().decode(KeyGrant.self, from: Data(changed.utf8)) else { continue }
            #expect(throws: VMSyncError.self) { try other.open(by: desktop, roster) }
        }
    }
}
