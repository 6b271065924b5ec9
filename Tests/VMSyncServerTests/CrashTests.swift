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
            try await TestDevice.with { maker in try await crash(at: point, survives, folder, maker) }
        }
    }

    private func crash(at point: String, _ survives: Bool, _ folder: String, _ maker: TestDevice.Maker) async throws {
        // Two commits pass the point; the third is killed there.
        let first = try await ServerProcess(folder: folder, fault: "\(point)@3:kill")
        var laptop = try await maker.make(at: first.url)
        _ = try await laptop.found(try #require(first.invitation))
        var client = laptop.client
        let vm = try await client.createVM(.random(), description: Data([1]), chunks: []).id
        let epoch = try await client.acquireLease(vm)
        let packs = (1...4).map { _ in randomBytes(300_000) }
        var acknowledged: [CheckpointRecord] = []
        for sequence in 1...2 {
            acknowledged.append(try await commit(sequence, packs[sequence - 1], epoch, vm, laptop))
        }
        let lost = await failure { _ = try await commit(3, packs[2], epoch, vm, laptop) }
        #expect(lost?.code == .unavailable)
        #expect(try await first.wasKilled())

        let second = try await ServerProcess(folder: folder)
        laptop = try await maker.make(at: second.url, keys: laptop.keys)
        client = laptop.client
        let there = try await client.checkpoints(of: vm)
        #expect(Array(there.prefix(2)) == acknowledged)
        #expect(there.count == (survives ? 3 : 2))
        #expect(try files(in: folder + "/tmp").isEmpty)
        #expect(try files(in: folder + "/blobs").count == there.count, "nothing that no checkpoint names")
        // The device does what the protocol says: the same commit again, then on.
        let third = try await commit(3, packs[2], epoch, vm, laptop)
        if survives { #expect(there.last == third) }
        let fourth = try await commit(4, packs[3], epoch, vm, laptop)
        for (record, pack) in zip(acknowledged + [third, fourth], packs) {
            #expect(try await client.fetch(record.pack, of: vm, bytesMax: 1 << 20) == pack)
        }
        try await second.kill()
    }

    @Test(arguments: points)
    func aSwitchHappensWholeOrNotAtAll(point: String, survives: Bool) async throws {
        try await withTemporaryFolder { folder in
            try await TestDevice.with { maker in try await crashInSwitch(at: point, survives, folder, maker) }
        }
    }

    private func crashInSwitch(at point: String, _ survives: Bool, _ folder: String, _ maker: TestDevice.Maker)
        async throws
    {
        let first = try await ServerProcess(folder: folder, fault: "\(point):kill")
        var laptop = try await maker.make(at: first.url)
        let desktop = try await maker.make(at: first.url)
        _ = try await laptop.found(try #require(first.invitation))
        try await laptop.admit(desktop)
        var client = laptop.client
        let target = desktop.client
        let vm = try await client.createVM(.random(), description: Data([1]), chunks: []).id
        let epoch = try await client.acquireLease(vm)
        let id = try await client.requestSwitch(vm, to: desktop.id).id
        _ = try await target.answer(.ready(at: .base), to: id, of: vm)
        let pack = randomBytes(100_000)
        #expect(await failure { _ = try await commit(1, pack, epoch, vm, laptop, .move(id)) }?.code == .unavailable)
        #expect(try await first.wasKilled())

        let second = try await ServerProcess(folder: folder)
        laptop = try await maker.make(at: second.url, keys: laptop.keys)
        client = laptop.client
        let found = try await client.vm(vm)
        #expect(found.holder == (survives ? desktop : laptop).id)
        #expect(found.epoch == (survives ? epoch.next : epoch))
        #expect((found.head != nil) == survives)
        #expect(found.lastSwitch?.state == (survives ? .moved : .ready))
        let head = try await commit(1, pack, epoch, vm, laptop, .move(id))
        let moved = try await client.vm(vm)
        #expect(moved.holder == desktop.id && moved.epoch == epoch.next && moved.head == head)
        try await second.kill()
    }

    @Test func aFetchGoesOnWhereItBrokeOff() async throws {
        try await withTemporaryFolder { folder in
            try await TestDevice.with { maker in try await fetchOverACrash(folder, maker) }
        }
    }

    private func fetchOverACrash(_ folder: String, _ maker: TestDevice.Maker) async throws {
        let first = try await ServerProcess(folder: folder)
        let laptop = try await maker.make(at: first.url)
        _ = try await laptop.found(try #require(first.invitation))
        let client = laptop.client
        let vm = try await client.createVM(.random(), description: Data(), chunks: []).id
        let epoch = try await client.acquireLease(vm)
        // More than the kernel holds between server and client, so that the crash comes in the middle.
        let piece = randomBytes(1 << 20)
        var pack = ByteBuffer()
        for _ in 0..<64 { pack.writeImmutableBuffer(piece) }
        let record = try await commit(1, pack, epoch, vm, laptop)

        var parts = client.pack(of: vm, record.pack).makeAsyncIterator()
        var fetched = try #require(try await parts.next())
        try await first.kill()
        let port = try ServerAddress(first.url).port
        let second = try await ServerProcess(folder: folder, port: port)
        while let part = try await parts.next() { fetched.writeImmutableBuffer(part) }
        #expect(fetched == pack)
        try await second.kill()
    }

    private func commit(
        _ sequence: Int, _ pack: ByteBuffer, _ epoch: Epoch, _ vm: VMID, _ device: TestDevice,
        _ then: AfterCommit = .keep
    ) async throws -> CheckpointRecord {
        let offer = ServerFixture.offer(UInt64(sequence), epoch: epoch.rawValue, pack, then: then)
        return try await device.commit(offer, to: vm, pack: .bytes(pack))
    }
}
