import Testing
import VMSyncCore
import VMSyncStore

extension MetadataStoreContract {
    // MARK: who belongs together, and who is there

    static let accounts: [Clause<ClockedStore>] = [
        Clause("an invitation of the server makes one account; the same again is no error") { it async throws -> Void in
            let code = ClockedStore.hash("code")
            #expect(try await !it.store.hasAccounts())
            #expect(try await it.store.invite(code, to: nil, lifetime: .seconds(60)) == it.clock.now + .seconds(60))
            let laptop = try await it.found(with: code)
            _ = try await it.found(by: laptop, with: code)
            let other = ClockedStore.hash("other")
            #expect(await VMSyncStoreTests.code { _ = try await it.found(other, with: code) } == .unauthorized)
            #expect(try await it.store.hasAccounts())
            #expect(try await it.store.membership(of: laptop)?.account == ClockedStore.account)
            #expect(try await it.store.membership(of: .random()) == nil)
        },
        Clause("an invitation expires, and one that was never made does not work") { it async throws -> Void in
            let code = ClockedStore.hash("code")
            _ = try await it.store.invite(code, to: nil, lifetime: .seconds(60))
            it.clock.advance(by: .seconds(60))
            #expect(await VMSyncStoreTests.code { _ = try await it.found(with: code) } == .unauthorized)
            let other = ClockedStore.hash("other")
            #expect(await VMSyncStoreTests.code { _ = try await it.found(with: other) } == .unauthorized)
            #expect(try await !it.store.hasAccounts())
        },
        Clause("of many that make an account with one invitation, one does") { it async throws -> Void in
            let code = ClockedStore.hash("code")
            _ = try await it.store.invite(code, to: nil, lifetime: .seconds(60))
            let made = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<16 {
                    group.addTask { (try? await it.found(ClockedStore.hash("\(number)"), with: code)) != nil }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(made == 1)
        },
        Clause("the list of devices grows in order, and of many that add to it at once one does") {
            it async throws -> Void in
            _ = try await it.join("laptop")
            let desktop = try await it.join("desktop")
            let wrong = await code { try await it.append("late", .renew(recovery: ClockedStore.hash("r")), number: 1) }
            #expect(wrong == .outOfOrder)
            let added = await withTaskGroup(of: Bool.self) { group in
                for number in 0..<16 {
                    let effect = RosterEffect.renew(recovery: ClockedStore.hash("\(number)"))
                    group.addTask { (try? await it.append("\(number)", effect, number: 2)) != nil }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(added == 1)
            let entries = try await it.store.roster(of: ClockedStore.account, from: 0)
            #expect(entries.count == 3 && entries.prefix(2) == [Array("found".utf8), Array("desktop".utf8)])
            #expect(try await it.store.roster(of: ClockedStore.account, from: 1) == Array(entries[1...]))
            #expect(try await it.store.membership(of: desktop)?.isMember == true)
        },
        Clause("a revoked device is no member and has no keys, and never becomes one again") {
            it async throws -> Void in
            _ = try await it.join("laptop")
            let lost = try await it.join("lost")
            let grant = StoredGrant(subject: "vm", generation: 1, recipient: "device \(lost)", content: [7])
            try await it.store.add([grant], of: ClockedStore.account)
            #expect(try await it.store.grants(for: grant.recipient, of: ClockedStore.account) == [[7]])
            let vm = try await it.create("work")
            _ = try await it.acquire(vm, by: lost)
            try await it.commit(it.offer(1), to: vm, by: lost)
            // It has saved more than whoever revokes it knows.
            #expect(await code { try await it.append("early", .revoke(lost, heads: [:])) } == .outOfOrder)
            try await it.append("revoke", .revoke(lost, heads: [vm: Sequence(rawValue: 1)]))
            #expect(try await it.store.vm(vm)?.lease.holder == nil)
            #expect(try await it.store.membership(of: lost)?.isMember == false)
            #expect(try await !it.store.devices(of: ClockedStore.account).map(\.id).contains(lost))
            #expect(try await it.store.grants(for: grant.recipient, of: ClockedStore.account).isEmpty)
            try await it.store.apply(it.application(of: lost), lifetime: .seconds(60))
            #expect(await code { try await it.append("again", .admit(lost, welcome: nil)) } == .alreadyExists)
        },
        Clause("a key that is granted again takes the place of the first") { it async throws -> Void in
            _ = try await it.join("laptop")
            func grant(_ generation: UInt32, _ content: UInt8) -> StoredGrant {
                StoredGrant(subject: "vm", generation: generation, recipient: "recovery", content: [content])
            }
            try await it.store.add([grant(1, 1), grant(2, 2)], of: ClockedStore.account)
            try await it.store.add([grant(1, 3)], of: ClockedStore.account)
            #expect(try await it.store.grants(for: "recovery", of: ClockedStore.account) == [[3], [2]])
            #expect(try await it.store.grants(for: "recovery", of: ClockedStore.hash("other")).isEmpty)
        },
        Clause("an account is found by its recovery key, the last one only") { it async throws -> Void in
            _ = try await it.join("laptop")
            let (first, second) = (
                ClockedStore.hash("recovery of \(ClockedStore.account)"), ClockedStore.hash("second")
            )
            #expect(try await it.store.account(recovery: first) == ClockedStore.account)
            let tablet = DeviceID.random()
            try await it.append("recover", .recover(tablet, recovery: second))
            #expect(try await it.store.account(recovery: first) == nil)
            #expect(try await it.store.account(recovery: second) == ClockedStore.account)
            #expect(try await it.store.membership(of: tablet)?.isMember == true)
        },
        Clause("the first server's keys are those of all") { it async throws -> Void in
            #expect(try await it.store.serverKeys(orKeep: [1]) == [1])
            #expect(try await it.store.serverKeys(orKeep: [2]) == [1])
        },
    ]

    static let admission: [Clause<ClockedStore>] = [
        Clause("a device that asks with a ticket is shown to the account, until it is let in") {
            it async throws -> Void in
            _ = try await it.join("laptop")
            let ticket = ClockedStore.hash("ticket")
            _ = try await it.store.invite(ticket, to: ClockedStore.account, lifetime: .seconds(60))
            let tablet = DeviceID.random()
            try await it.store.apply(it.application(of: tablet, ticket: ticket), lifetime: .seconds(60))
            let waiting = try await it.store.applications(to: ClockedStore.account)
            #expect(waiting == [it.application(of: tablet, ticket: ticket)])
            #expect(try await it.store.applications(to: ClockedStore.hash("other")).isEmpty)
            #expect(try await it.store.application(of: tablet)?.account == nil)
            try await it.append("tablet", .admit(tablet, welcome: [9]))
            #expect(try await it.store.applications(to: ClockedStore.account).isEmpty)
            let admitted = try await it.store.application(of: tablet)
            #expect(admitted?.account == ClockedStore.account && admitted?.welcome == [9])
            let second = await code {
                try await it.store.apply(it.application(of: .random(), ticket: ticket), lifetime: .seconds(60))
            }
            #expect(second == .unauthorized, "a ticket works once")
        },
        Clause("a device that was invited to one account isn't let into another") { it async throws -> Void in
            _ = try await it.join("laptop")
            let (code, other) = (ClockedStore.hash("code of other"), ClockedStore.hash("other"))
            _ = try await it.store.invite(code, to: nil, lifetime: .seconds(60))
            _ = try await it.found(other, with: code)
            let ticket = ClockedStore.hash("ticket")
            _ = try await it.store.invite(ticket, to: other, lifetime: .seconds(60))
            let tablet = DeviceID.random()
            try await it.store.apply(it.application(of: tablet, ticket: ticket), lifetime: .seconds(60))
            #expect(await it.refusal(toAdmit: tablet) == .notFound)
            #expect(try await it.store.membership(of: tablet) == nil)
        },
        Clause("an application is forgotten after its time, and one that nobody made can't be granted") {
            it async throws -> Void in
            _ = try await it.join("laptop")
            let tablet = DeviceID.random()
            try await it.store.apply(it.application(of: tablet), lifetime: .seconds(60))
            it.clock.advance(by: .seconds(60))
            #expect(try await it.store.application(of: tablet) == nil)
            #expect(await code { try await it.append("who", .admit(.random(), welcome: nil)) } == .notFound)
            let unknown = it.application(of: tablet, ticket: ClockedStore.hash("never made"))
            #expect(await code { try await it.store.apply(unknown, lifetime: .seconds(60)) } == .unauthorized)
        },
    ]

    static let devices: [Clause<ClockedStore>] = [
        Clause("devices are listed as they joined, with what they told and when they were seen") {
            it async throws -> Void in
            let laptop = try await it.join("laptop")
            let desktop = try await it.join("desktop")
            it.clock.advance(by: .seconds(5))
            try await it.store.arrived(desktop, at: .random())
            try await it.store.setProfile([1, 255], of: laptop)
            let devices = try await it.store.devices(of: ClockedStore.account)
            #expect(devices.map(\.id) == [laptop, desktop])
            #expect(devices.map(\.profile) == [[1, 255], nil])
            #expect(devices[1].lastSeen == devices[0].lastSeen + .seconds(5))
            #expect(await code { try await it.store.setProfile([1], of: .random()) } == .notFound)
            #expect(try await it.store.devices(of: ClockedStore.hash("other")).isEmpty)
        },
        Clause("a server is there from when it says so until it leaves, or says nothing for long") {
            it async throws -> Void in
            let (first, second) = (ServerRun.random(), ServerRun.random())
            try await it.store.serverArrived(first, url: "https://b:1")
            try await it.store.serverArrived(second, url: "https://a:1")
            #expect(try await it.store.servers() == ["https://a:1", "https://b:1"])
            try await it.store.serverLeft(second)
            #expect(try await it.store.servers() == ["https://b:1"])
            it.clock.advance(by: SQLMetadataStore.presenceMax)
            #expect(try await it.store.servers().isEmpty)
        },
    ]

    static let presence: [Clause<ClockedStore>] = [
        Clause("a device is connected from when it arrives until it leaves the last server") {
            it async throws -> Void in
            let laptop = try await it.join("laptop")
            let (here, there) = (ServerRun.random(), ServerRun.random())
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [false])
            #expect(try await it.store.arrived(laptop, at: here))
            #expect(try await !it.store.arrived(laptop, at: here))
            #expect(try await it.store.arrived(laptop, at: there))
            try await it.store.left(laptop, from: here)
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [true])
            try await it.store.left(laptop, from: there)
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [false])
        },
        Clause("a device of a server that died is not connected for long") { it async throws -> Void in
            let laptop = try await it.join("laptop")
            let server = ServerRun.random()
            try await it.store.arrived(laptop, at: server)
            it.clock.advance(by: SQLMetadataStore.presenceMax)
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [false])
            try await it.store.arrived(laptop, at: server)
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [true])
            try await it.store.allLeft()
            #expect(try await it.store.devices(of: ClockedStore.account).map(\.isConnected) == [false])
        },
    ]
}
