import Foundation
import NIOCore
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncTestSupport

/// Two servers, each a process, on one PostgreSQL database and one bucket of an S3 store.
@Suite("Servers that share their stores", .timeLimit(.minutes(2))) struct SharedStoreTests {
    private struct Shared: Sendable {
        let metadata: String
        let blobs: String
        let maker: TestDevice.Maker

        func server(fault: String? = nil) async throws -> ServerProcess {
            try await ServerProcess(metadata: metadata, blobs: blobs, fault: fault)
        }
    }

    private func withStores(_ body: (Shared) async throws -> Void) async throws {
        try await TestServers.withPostgreSQL { url in
            try await TestDevice.with { maker in
                try await body(Shared(metadata: url, blobs: TestServers.s3(), maker: maker))
            }
        }
    }

    @Test("what one takes the other gives, and tells its devices") func oneRepository() async throws {
        try await withStores { shared in
            let (first, second) = (try await shared.server(), try await shared.server())
            let laptop = try await shared.maker.make(at: first.url)
            let desktop = try await shared.maker.make(at: second.url)
            _ = try await laptop.found(try #require(first.invitation))
            try await laptop.admit(desktop)
            let (here, there) = (laptop.client, desktop.client)

            var watcher = Watcher(there)
            try await watcher.until { $0.readies == 1 }
            let vm = try await here.createVM(.random(), description: Data([1]), chunks: []).id
            try await watcher.until { $0.vms[vm] != nil }
            let epoch = try await here.acquireLease(vm)
            // A short pack in one piece, and a long one in chunks, by way of both.
            for (sequence, size) in [(UInt64(1), 1000), (2, 9_000_001)] {
                let pack = randomBytes(size)
                let offer = ServerFixture.offer(sequence, epoch: epoch.rawValue, pack)
                let record = try await laptop.commit(offer, to: vm, pack: .bytes(pack))
                try await watcher.until { $0.vms[vm]?.head == record }
                #expect(try await there.fetch(record.pack, of: vm, bytesMax: 10_000_000) == pack)
            }
            // The switch is asked for at one, answered at the other, and done by a commit at the first.
            let id = try await there.requestSwitch(vm, to: desktop.id).id
            _ = try await there.answer(.ready(at: Sequence(rawValue: 2)), to: id, of: vm)
            let last = ByteBuffer(string: "last")
            _ = try await laptop.commit(
                ServerFixture.offer(3, epoch: epoch.rawValue, last, then: .move(id)), to: vm, pack: .bytes(last))
            try await watcher.until { $0.vms[vm]?.holder == desktop.id }
            #expect(try await there.acquireLease(vm) == epoch.next)
            try await there.releaseLease(vm, epoch: epoch.next)
            try await here.deleteVM(vm)
            try await watcher.until { $0.vms[vm] == nil }
            try await first.kill()
            try await second.kill()
        }
    }

    @Test("a device is connected at whichever server it listens") func presence() async throws {
        try await withStores { shared in
            let (first, second) = (try await shared.server(), try await shared.server())
            let laptop = try await shared.maker.make(at: first.url)
            let desktop = try await shared.maker.make(at: second.url)
            _ = try await laptop.found(try #require(first.invitation))
            try await laptop.admit(desktop)
            let (here, there) = (laptop.client, desktop.client)
            var watcher = Watcher(here)
            try await watcher.until { $0.devices.map(\.connected) == [true, false] }
            try await watcher.until { Set($0.servers) == [here.url, there.url] }
            let listening = Task {
                var other = Watcher(there)
                try await other.until { _ in false }
            }
            try await watcher.until { $0.devices.map(\.connected) == [true, true] }
            listening.cancel()
            try await watcher.until { $0.devices.map(\.connected) == [true, false] }
            try await first.kill()
            try await second.kill()
        }
    }

    @Test("a commit that one did not answer is repeated at the other, and counts once", arguments: CrashTests.points)
    func aCrash(point: String, survives: Bool) async throws {
        try await withStores { shared in
            let (first, second) = (try await shared.server(fault: "\(point)@3:kill"), try await shared.server())
            let laptop = try await shared.maker.make(at: first.url)
            _ = try await laptop.found(try #require(first.invitation))
            let same = try await shared.maker.make(at: second.url, keys: laptop.keys)
            let (here, there) = (laptop.client, same.client)
            let vm = try await here.createVM(.random(), description: Data([1]), chunks: []).id
            let epoch = try await here.acquireLease(vm)
            let packs = (1...4).map { _ in randomBytes(300_000) }
            func commit(_ sequence: Int, at device: TestDevice) async throws -> CheckpointRecord {
                let pack = packs[sequence - 1]
                let offer = ServerFixture.offer(UInt64(sequence), epoch: epoch.rawValue, pack)
                return try await device.commit(offer, to: vm, pack: .bytes(pack))
            }
            var records: [CheckpointRecord] = []
            for sequence in 1...2 { records.append(try await commit(sequence, at: laptop)) }
            #expect(await failure { _ = try await commit(3, at: laptop) }?.code == .unavailable)
            #expect(try await first.wasKilled())
            #expect(try await there.checkpoints(of: vm).count == (survives ? 3 : 2))
            for sequence in 3...4 { records.append(try await commit(sequence, at: same)) }
            #expect(try await there.checkpoints(of: vm) == records)
            for (record, pack) in zip(records, packs) {
                #expect(try await there.fetch(record.pack, of: vm, bytesMax: 1 << 20) == pack)
            }
            try await second.kill()
        }
    }
}
