import Foundation
import Testing
import VMSyncCore
import VMSyncPolicy
import VMSyncStore

@Suite("Metadata in SQLite") struct SQLiteTests {
    @Test(arguments: MetadataStoreContract.clauses)
    func keepsTheContract(_ clause: Clause<ClockedStore>) async throws {
        try await withTemporaryFolder { folder in
            let clock = ManualClock()
            let store = try await SQLMetadataStore.sqlite(path: folder + "/server.sqlite") { clock.now }
            try await clause.check(ClockedStore(store: store, clock: clock))
            try await store.close()
        }
    }

    @Test func whatWasStoredIsThereForTheNextProcess() async throws {
        try await withTemporaryFolder { folder in
            let clock = ManualClock()
            let path = folder + "/server.sqlite"
            let first = ClockedStore(store: try await SQLMetadataStore.sqlite(path: path) { clock.now }, clock: clock)
            let laptop = try await first.join("laptop")
            let vm = try await first.create("work")
            _ = try await first.acquire(vm, by: laptop)
            try await first.commit(first.offer(1), to: vm, by: laptop)
            let before = try await first.store.vm(vm)
            // The first is not closed: a crash does not close either.
            let second = try await SQLMetadataStore.sqlite(path: path) { clock.now }
            #expect(try await second.vm(vm) == before)
            #expect(before?.lease.headSequence == Sequence(rawValue: 1))
        }
    }

    @Test func aFileThatIsNoDatabaseIsRefused() async throws {
        try await withTemporaryFolder { folder in
            let path = folder + "/server.sqlite"
            try Data(repeating: 0x55, count: 8192).write(to: URL(fileURLWithPath: path))
            #expect(await code { _ = try await SQLMetadataStore.sqlite(path: path) } == .corrupt)
        }
    }
}
