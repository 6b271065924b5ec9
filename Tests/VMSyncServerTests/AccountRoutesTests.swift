import Foundation
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets
import VMSyncServer

@Suite("Accounts", .timeLimit(.minutes(1))) struct AccountRoutesTests {
    @Test("an invitation of the server makes one account") func founding() async throws {
        try await ServerFixture.with { it in
            let places = StorePlaces(dataFolder: it.folder)
            let code = try await SyncServer.invite(to: places).invitation
            let (first, second) = (try await it.maker.make(at: it.address), try await it.maker.make(at: it.address))
            let typed = code.uppercased().replacingOccurrences(of: "-", with: " ")
                .replacingOccurrences(of: "0", with: "O").replacingOccurrences(of: "1", with: "I")
            _ = try await first.found(typed)
            let used = await failure { _ = try await second.found(code) }
            #expect(used?.code == .unauthorized && used?.message.contains("already used") == true)
            let unknown = await failure { _ = try await second.found("0000-0000-0000-0000") }
            #expect(unknown?.code == .unauthorized && unknown?.hint != nil)
            // Nobody makes an account for somebody else.
            let next = try await SyncServer.invite(to: places).invitation
            let entry = try Roster.founding(by: first.keys, recovery: try RecoveryKey.random().identity)
            #expect(await failure { try await second.client.found(entry, invitation: next) }?.code == .invalidInput)
        }
        let nowhere = await failure { _ = try await SyncServer.invite(to: StorePlaces(dataFolder: "/nonexistent")) }
        #expect(nowhere?.code == .notFound)
    }

    @Test("a ticket works once, and for a day") func tickets() async throws {
        try await ServerFixture.with { it in
            let code = InvitationCode.random(.member)
            #expect(try await it.laptop.invite(ticket: code.ticket) == it.clock.now + .seconds(86_400))
            let phone = try await it.maker.make(at: it.address)
            func ask(_ device: TestDevice, _ code: InvitationCode) async throws {
                let proof = code.proof(of: device.keys.identity)
                try await device.client.apply(
                    JoinRequest(identity: device.keys.identity, ticket: code.ticket, proof: proof))
            }
            try await ask(phone, code)
            #expect(try await phone.client.joinState().account == nil)
            let applicant = try #require(try await it.laptop.applicants().first)
            #expect(applicant.identity == phone.keys.identity)
            #expect(code.isProof(try #require(applicant.proof), of: applicant.identity))
            let roster = try await it.laptopDevice.roster()
            let account = try #require(roster.account)
            let entry = try roster.entry(.admit(phone.keys.identity), by: it.laptopDevice.keys)
            let welcome = code.welcome(to: account)
            try await it.laptop.append(RosterAddition(entry: entry, welcome: welcome, grants: []))
            let joined = try await phone.client.joinState()
            #expect(joined.account == account && joined.welcome.map { code.isWelcome($0, to: account) } == true)
            #expect(try await phone.client.devices().count == 3)

            let tablet = try await it.maker.make(at: it.address)
            #expect(await failure { try await ask(tablet, code) }?.code == .unauthorized)
            let late = InvitationCode.random(.member)
            _ = try await it.laptop.invite(ticket: late.ticket)
            it.clock.advance(by: .seconds(86_400))
            let expired = await failure { try await ask(tablet, late) }
            #expect(expired?.code == .unauthorized && expired?.message.contains("expired") == true)
        }
    }

    @Test("the server refuses entries that devices would refuse") func entries() async throws {
        try await ServerFixture.with { it in
            let phone = try await it.maker.make(at: it.address)
            try await phone.apply()
            let roster = try await it.laptopDevice.roster()
            let identity = phone.keys.identity
            // Signed by a stranger, and sent by a member.
            let forged = try roster.entry(.admit(identity), by: phone.keys)
            let bad = await failure { try await it.laptop.append(RosterAddition(entry: forged, grants: [])) }
            #expect(bad?.code == .invalidInput)
            let good = try roster.entry(.admit(identity), by: it.laptopDevice.keys)
            #expect(
                await failure { try await phone.client.append(RosterAddition(entry: good, grants: [])) }?.code
                    == .unauthorized)
            try await it.laptop.append(RosterAddition(entry: good, grants: []))
            // The same place in the list again.
            let late = try roster.entry(.revoke(it.desktopID, heads: [:]), by: it.laptopDevice.keys)
            #expect(
                await failure { try await it.laptop.append(RosterAddition(entry: late, grants: [])) }?.code
                    == .outOfOrder)
            #expect(try await it.laptopDevice.roster().count == 3)
        }
    }

    @Test("a revoked device is cut off at once, and its VM is free") func revocation() async throws {
        try await ServerFixture.with { it in
            let vm = try await it.createVM()
            _ = try await it.desktop.acquireLease(vm)
            var watcher = Watcher(it.desktop)
            try await watcher.until { $0.readies == 1 }
            let entry = try await it.laptopDevice.roster().entry(
                .revoke(it.desktopID, heads: [:]), by: it.laptopDevice.keys)
            try await it.laptop.append(RosterAddition(entry: entry, grants: []))
            let ended = await failure { try await watcher.until { _ in false } }
            #expect(ended?.code == .unauthorized, "its stream has ended, and it can't begin another")
            #expect(await failure { _ = try await it.desktop.vms() }?.code == .unauthorized)
            #expect(try await it.laptop.vm(vm).holder == nil)
            // It may have handed the VM over, and not said so.
            #expect(try await it.laptop.acquireLease(vm) == Epoch(rawValue: 1).afterForce.next)
        }
    }

    @Test("who has the recovery key comes in without any device, and uses it up") func recovery() async throws {
        try await ServerFixture.with { it in
            let code = try await SyncServer.invite(to: StorePlaces(dataFolder: it.folder)).invitation
            let lost = try await it.maker.make(at: it.address)
            let (key, next) = (try RecoveryKey.random(), try RecoveryKey.random())
            let roster = try await lost.found(code, recovery: key)
            let secret = SubjectKey.random(generation: 1)
            try await lost.client.add([KeyGrant(secret, of: .account, to: key.identity, by: lost.keys)])

            let new = try await it.maker.make(at: it.address)
            let answer = try await new.client.recovery(key.identity)
            #expect(try answer.grants.map { try $0.open(by: key, roster) } == [secret])
            let entry = try roster.recovering(new.keys.identity, with: key, next: next.identity)
            let thief = try await it.maker.make(at: it.address)
            let addition = RosterAddition(entry: entry, grants: [])
            #expect(await failure { try await thief.client.recover(key.identity, addition) }?.code == .invalidInput)
            try await new.client.recover(key.identity, addition)
            #expect(try await new.client.devices().map(\.id) == [lost.id, new.id])
            #expect(await failure { _ = try await thief.client.recovery(key.identity) }?.code == .notFound)
            #expect(try await thief.client.recovery(next.identity).entries.count == 2)
        }
    }
}
