import AsyncHTTPClient
import Foundation
import NIOCore
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

@Suite(.timeLimit(.minutes(2)), .serialized) struct CrashTests {
    /// The points, and whether the commit that met one is there afterwards.
    static let points = [
        ("server-after-blob-durable", false), ("server-before-metadata", false), ("server-after-metadata", true),
    ]

    @Test(arguments: points)
    func whatWasAcknowledgedIsThereAndTheRestCanBeRepeated(point: String, survives: Bool) async throws {
        try await withTemporaryFolder { folder in
            let http = SyncClient.makeHTTPClient()
            do { try await crash(at: point, survives, folder, http) } catch {
                try await http.shutdown()
                throw error
            }
            try await http.shutdown()
        }
    }

    private func crash(at point: String, _ survives: Bool, _ folder: String, _ http: HTTPClient) async throws {
        // Two commits pass the point; the third is killed there.
        let first = try await ServerProcess(folder: folder, fault: "\(point)@3:kill")
        let anybody = try SyncClient(url: first.url, token: nil, httpClient: http)
        let code = try #require(first.invitation)
        let token = try await anybody.join(invitation: code, name: "laptop", platform: "x").token
        var client = try SyncClient(url: first.url, token: token, httpClient: http)
        let vm = try await client.createVM(.random(), name: "work", definition: Data([1]), chunks: []).id
        let epoch = try await client.acquireLease(vm)
        let packs = (1...4).map { _ in randomBytes(300_000) }
        var acknowledged: [CheckpointRecord] = []
        for sequence in 1...2 {
            acknowledged.append(try await commit(sequence, packs[sequence - 1], epoch, vm, client))
        }
        let lost = await failure { _ = try await commit(3, packs[2], epoch, vm, client) }
        #expect(lost?.code == .unavailable)
        #expect(try await first.wasKilled())

        let second = try await ServerProcess(folder: folder)
        client = try SyncClient(url: second.url, token: token, httpClient: http)
        let there = try await client.checkpoints(of: vm)
        #expect(Array(there.prefix(2)) == acknowledged)
        #expect(there.count == (survives ? 3 : 2))
        #expect(try files(in: folder + "/tmp").isEmpty)
        #expect(try files(in: folder + "/blobs").count == there.count, "nothing that no checkpoint names")
        // The device does what the protocol says: the same commit again, then on.
        let third = try await commit(3, packs[2], epoch, vm, client)
        if survives { #expect(there.last == third) }
        let fourth = try await commit(4, packs[3], epoch, vm, client)
        for (record, pack) in zip(acknowledged + [third, fourth], packs) {
            #expect(try await client.fetchPack(of: vm, record, bytesMax: 1 << 20) == pack)
        }
        try await second.kill()
    }

    @Test(arguments: points)
    func aSwitchHappensWholeOrNotAtAll(point: String, survives: Bool) async throws {
        try await withTemporaryFolder { folder in
            let http = SyncClient.makeHTTPClient()
            do { try await crashInSwitch(at: point, survives, folder, http) } catch {
                try await http.shutdown()
                throw error
            }
            try await http.shutdown()
        }
    }

    private func crashInSwitch(at point: String, _ survives: Bool, _ folder: String, _ http: HTTPClient) async throws {
        let first = try await ServerProcess(folder: folder, fault: "\(point):kill")
        let anybody = try SyncClient(url: first.url, token: nil, httpClient: http)
        let code = try #require(first.invitation)
        let laptop = try await anybody.join(invitation: code, name: "laptop", platform: "x")
        var client = try SyncClient(url: first.url, token: laptop.token, httpClient: http)
        let other = try await client.invite().invitation
        let desktop = try await anybody.join(invitation: other, name: "desktop", platform: "x")
        let target = try SyncClient(url: first.url, token: desktop.token, httpClient: http)
        let vm = try await client.createVM(.random(), name: "work", definition: Data([1]), chunks: []).id
        let epoch = try await client.acquireLease(vm)
        let id = try await client.requestSwitch(vm, to: desktop.device.id).id
        _ = try await target.answer(.ready(at: .base), to: id, of: vm)
        let pack = randomBytes(100_000)
        #expect(await failure { _ = try await commit(1, pack, epoch, vm, client, .move(id)) }?.code == .unavailable)
        #expect(try await first.wasKilled())

        let second = try await ServerProcess(folder: folder)
        client = try SyncClient(url: second.url, token: laptop.token, httpClient: http)
        let found = try await client.vm(vm)
        #expect(found.holder == (survives ? desktop : laptop).device.id)
        #expect(found.epoch == (survives ? epoch.next : epoch))
        #expect((found.head != nil) == survives)
        #expect(found.lastSwitch?.state == (survives ? .moved : .ready))
        let head = try await commit(1, pack, epoch, vm, client, .move(id))
        let moved = try await client.vm(vm)
        #expect(moved.holder == desktop.device.id && moved.epoch == epoch.next && moved.head == head)
        try await second.kill()
    }

    @Test func aFetchGoesOnWhereItBrokeOff() async throws {
        try await withTemporaryFolder { folder in
            let http = SyncClient.makeHTTPClient()
            do { try await fetchOverACrash(folder, http) } catch {
                try await http.shutdown()
                throw error
            }
            try await http.shutdown()
        }
    }

    private func fetchOverACrash(_ folder: String, _ http: HTTPClient) async throws {
        let first = try await ServerProcess(folder: folder)
        let anybody = try SyncClient(url: first.url, token: nil, httpClient: http)
        let code = try #require(first.invitation)
        let token = try await anybody.join(invitation: code, name: "laptop", platform: "x").token
        let client = try SyncClient(url: first.url, token: token, httpClient: http)
        let vm = try await client.createVM(.random(), name: "work", definition: Data(), chunks: []).id
        let epoch = try await client.acquireLease(vm)
        // More than the kernel holds between server and client, so that the crash comes in the middle.
        let piece = randomBytes(1 << 20)
        var pack = ByteBuffer()
        for _ in 0..<64 { pack.writeImmutableBuffer(piece) }
        let record = try await commit(1, pack, epoch, vm, client)

        var parts = client.pack(of: vm, record).makeAsyncIterator()
        var fetched = try #require(try await parts.next())
        try await first.kill()
        let port = try #require(URLComponents(string: first.url)?.port)
        let second = try await ServerProcess(folder: folder, port: port)
        while let part = try await parts.next() { fetched.writeImmutableBuffer(part) }
        #expect(fetched == pack)
        try await second.kill()
    }

    private func commit(
        _ sequence: Int, _ pack: ByteBuffer, _ epoch: Epoch, _ vm: VMID, _ client: SyncClient,
        _ then: AfterCommit = .keep
    ) async throws -> CheckpointRecord {
        let offer = ServerFixture.offer(UInt64(sequence), epoch: epoch.rawValue, pack, then: then)
        return try await client.commit(offer, to: vm, pack: .bytes(pack))
    }
}
