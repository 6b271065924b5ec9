import Foundation
import PostgreSQL
import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncStore
import VMSyncTestSupport

@Suite("Metadata in PostgreSQL") struct PostgreSQLTests {
    @Test(arguments: MetadataStoreContract.clauses)
    func keepsTheContract(_ clause: Clause<ClockedStore>) async throws {
        try await TestServers.withPostgreSQL { url in
            let clock = ManualClock()
            let store = try await SQLMetadataStore.postgreSQL(url: url) { clock.now }
            try await clause.check(ClockedStore(store: store, clock: clock))
            try await store.close()
        }
    }

    @Test("the time is the database's") func time() async throws {
        try await TestServers.withPostgreSQL { url in
            let store = try await SQLMetadataStore.postgreSQL(url: url)
            let before = Timestamp.now
            let expires = try await store.invite(ClockedStore.hash("code"), to: nil, lifetime: .zero)
            // It runs on this machine, so the clocks are one.
            #expect(before.rawValue - 1 <= expires.rawValue && expires <= Timestamp.now)
            try await store.close()
        }
    }

    @Test("several servers that start on an empty database make its tables once") func manyStarts() async throws {
        try await TestServers.withPostgreSQL { url in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        let store = try await SQLMetadataStore.postgreSQL(url: url)
                        #expect(try await !store.hasAccounts())
                        try await store.close()
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test("two servers race for one lease, and commits come in order whoever takes them") func twoServers() async throws
    {
        try await TestServers.withPostgreSQL { url in
            let clock = ManualClock()
            let servers = [
                try await SQLMetadataStore.postgreSQL(url: url) { clock.now },
                try await SQLMetadataStore.postgreSQL(url: url) { clock.now },
            ]
            let stores = servers.map { ClockedStore(store: $0, clock: clock) }
            let (laptop, desktop) = (try await stores[0].join("laptop"), try await stores[1].join("desktop"))
            let vm = try await stores[0].create("work")
            let got = await withTaskGroup(of: DeviceID?.self) { group in
                for (store, device) in [(stores[0], laptop), (stores[1], desktop)] {
                    group.addTask { (try? await store.acquire(vm, by: device)) != nil ? device : nil }
                }
                return await group.reduce(into: [DeviceID]()) { if let device = $1 { $0.append(device) } }
            }
            let holder = try #require(got.first)
            #expect(got.count == 1)
            for sequence in UInt64(1)...6 {
                let decisions = try await withThrowingTaskGroup(of: CommitDecision.self) { group in
                    for store in stores {
                        group.addTask { try await store.commit(store.offer(sequence), to: vm, by: holder) }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                let accepted = decisions.filter { if case .accepted = $0 { true } else { false } }
                #expect(accepted.count == 1)
            }
            #expect(try await stores[1].store.vm(vm)?.lease.headSequence == Sequence(rawValue: 6))
            for server in servers { try await server.close() }
        }
    }

    @Test("one server hears what another changes, and not what it changes itself") func changes() async throws {
        try await TestServers.withPostgreSQL { url in
            let (mine, other) = (
                try await SQLMetadataStore.postgreSQL(url: url), try await SQLMetadataStore.postgreSQL(url: url)
            )
            var changes = mine.changes().makeAsyncIterator()
            #expect(await changes.next() == .everything)
            let (here, there) = (
                ClockedStore(store: mine, clock: ManualClock()), ClockedStore(store: other, clock: ManualClock())
            )
            let laptop = try await there.join("laptop")
            #expect(await changes.next() == .devices)
            let own = try await here.create("own")
            let vm = try await there.create("work")
            #expect(await changes.next() == .vm(vm))
            #expect(own != vm)
            try await other.setProfile([1], of: laptop)
            #expect(await changes.next() == .devices)
            try await other.serverArrived(.random(), url: "https://box:1")
            #expect(await changes.next() == .servers)
            _ = try await other.remove(vm) { _ in }
            #expect(await changes.next() == .vm(vm))
            try await mine.close()
            try await other.close()
        }
    }

    @Test("a server whose connections were cut goes on, and hears again") func cutConnections() async throws {
        try await TestServers.withPostgreSQL { url in
            let store = try await SQLMetadataStore.postgreSQL(url: url)
            let vm = try await ClockedStore(store: store, clock: ManualClock()).create("work")
            var changes = store.changes().makeAsyncIterator()
            #expect(await changes.next() == .everything)
            let pool = PostgreSQLPool(url: url, threads: 1)
            let cut = try await pool.transaction { transaction in
                try transaction.run(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE pid <> pg_backend_pid() AND application_name = current_schema()
                    """
                ).count
            }
            #expect(cut >= 2)
            #expect(try await store.vm(vm)?.description == Array("work".utf8))
            #expect(await changes.next() == .everything)
            try await pool.close()
            try await store.close()
        }
    }

    @Test("no database at all is said in words") func nothingThere() async throws {
        let url = "postgresql://nobody@127.0.0.1:1/nothing"
        #expect(await code { _ = try await SQLMetadataStore.postgreSQL(url: url) } == .unavailable)
    }
}
