import AsyncHTTPClient
import Crypto
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import Synchronization
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets
import VMSyncServer

/// A clock that stands until it is moved.
final class ManualClock: Sendable {
    private let time = Mutex(Timestamp(rawValue: 1_700_000_000_000))
    var now: Timestamp { time.withLock { $0 } }
    func advance(by duration: Duration) { time.withLock { $0 = $0 + duration } }
}

/// A device with keys, that has joined or not.
struct TestDevice: Sendable {
    let keys: DeviceKeys
    let client: SyncClient
    let http: HTTPClient
    var id: DeviceID { keys.id }

    init(_ server: String, keys: DeviceKeys? = nil) async throws {
        self.keys = try keys ?? DeviceKeys(now: 1_700_000_000)
        let address = try ServerAddress(server)
        let certificate = try await PinnedTLS.certificate(of: address, self.keys)
        http = try SyncClient.makeHTTPClient(self.keys, server: certificate)
        client = SyncClient(servers: ServerRing([address.url]), httpClient: http)
    }

    /// Makes an account and its first device.
    func found(_ invitation: String, recovery: RecoveryKey? = nil) async throws -> Roster {
        let recovery = try recovery ?? RecoveryKey.random()
        let entry = try Roster.founding(by: keys, recovery: recovery.identity)
        try await client.found(entry, invitation: invitation)
        var roster = Roster()
        try roster.take(entry)
        return roster
    }

    func apply() async throws { try await client.apply(JoinRequest(identity: keys.identity)) }

    /// Lets `other` in, as a member.
    func admit(_ other: TestDevice) async throws {
        try await other.apply()
        let entry = try await roster().entry(.admit(other.keys.identity), by: keys)
        try await client.append(RosterAddition(entry: entry, grants: []))
    }

    func roster() async throws -> Roster {
        var roster = Roster()
        for entry in try await client.roster(from: 0) { try roster.take(entry) }
        return roster
    }

    /// `offer` with what a device says of it.
    func signed(_ offer: CommitOffer, of vm: VMID) async throws -> CommitOffer {
        let before = Sequence(rawValue: max(offer.parent.rawValue, 1) - 1)
        let head = (try? await client.checkpoints(of: vm, after: before, limit: 1))?.first
        let parent = try head.flatMap { head in
            head.sequence == offer.parent
                ? ChainPoint(sequence: head.sequence, hash: try Signed<Statement>(bytes: head.statement).hash) : nil
        }
        let then: Statement.Then =
            switch offer.then {
            case .keep: .keep
            case .release: .release
            case .move: .move(to: (try? await client.vm(vm))?.lastSwitch?.to ?? id)
            }
        let statement = Statement(
            vm: vm, device: id, sequence: offer.sequence, parent: parent, epoch: offer.epoch,
            isOff: offer.kind == .off, size: offer.size, checksum: offer.checksum, digest: Data(), then: then)
        return CommitOffer(
            epoch: offer.epoch, sequence: offer.sequence, parent: offer.parent, kind: offer.kind, size: offer.size,
            checksum: offer.checksum, statement: try Signed(statement, by: keys).bytes, then: offer.then)
    }

    @discardableResult
    func commit(_ offer: CommitOffer, to vm: VMID, pack: PackSource) async throws -> CheckpointRecord {
        try await client.commit(try await signed(offer, of: vm), to: vm, pack: pack)
    }

    /// The same device at another server.
    func at(_ server: String) async throws -> TestDevice { try await TestDevice(server, keys: keys) }

    func end() async throws { try await http.shutdown() }

    /// Calls `body` and ends the devices that it makes by `make`.
    static func with(_ body: (Maker) async throws -> Void) async throws {
        let maker = Maker()
        let result: Result<Void, any Error>
        do { result = .success(try await body(maker)) } catch { result = .failure(error) }
        for device in await maker.made { try await device.end() }
        try result.get()
    }

    actor Maker {
        private(set) var made: [TestDevice] = []

        func make(at server: String, keys: DeviceKeys? = nil) async throws -> TestDevice {
            let device = try await TestDevice(server, keys: keys)
            made.append(device)
            return device
        }
    }
}

/// A real server on loopback in this process, with a laptop and a desktop that have joined it.
struct ServerFixture: Sendable {
    /// As the server has printed it.
    let address: String
    let folder: String
    let clock: ManualClock
    let laptopDevice: TestDevice
    let desktopDevice: TestDevice
    let maker: TestDevice.Maker

    var laptop: SyncClient { laptopDevice.client }
    var desktop: SyncClient { desktopDevice.client }
    var laptopID: DeviceID { laptopDevice.id }
    var desktopID: DeviceID { desktopDevice.id }

    static func with(
        heartbeat: Duration = .seconds(15), silenceMax: Duration = .seconds(120),
        _ body: @Sendable (ServerFixture) async throws -> Void
    ) async throws {
        try await withTemporaryFolder { folder in
            let clock = ManualClock()
            var configuration = SyncServer.Configuration(places: StorePlaces(dataFolder: folder))
            configuration.heartbeat = heartbeat
            configuration.silenceMax = silenceMax
            try await running(configuration, clock) { listening in
                try await TestDevice.with { maker in
                    try await body(try await joined(listening, folder, clock, maker))
                }
            }
        }
    }

    /// Runs a server while `body` does.
    static func running(
        _ configuration: SyncServer.Configuration, _ clock: ManualClock = ManualClock(),
        _ body: @Sendable (SyncServer.Listening) async throws -> Void
    ) async throws {
        let (announcements, announcement) = AsyncStream.makeStream(of: SyncServer.Listening.self)
        let server = SyncServer(configuration: configuration, logger: quiet, clock: { clock.now }) {
            announcement.yield($0)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { announcement.finish() }
                try await server.run()
            }
            var iterator = announcements.makeAsyncIterator()
            guard let listening = await iterator.next() else {
                try await group.waitForAll()
                return
            }
            try await body(listening)
            group.cancelAll()
        }
    }

    private static var quiet: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }

    private static func joined(
        _ listening: SyncServer.Listening, _ folder: String, _ clock: ManualClock, _ maker: TestDevice.Maker
    ) async throws -> ServerFixture {
        let laptop = try await maker.make(at: listening.listening)
        let desktop = try await maker.make(at: listening.listening)
        _ = try await laptop.found(try #require(listening.invitation))
        try await laptop.admit(desktop)
        return ServerFixture(
            address: listening.listening, folder: folder, clock: clock, laptopDevice: laptop, desktopDevice: desktop,
            maker: maker)
    }

    // MARK: What many tests do

    func createVM() async throws -> VMID {
        try await laptop.createVM(.random(), description: Data([1, 2, 3]), chunks: []).id
    }

    /// A VM that is active on the laptop under epoch 1.
    func activeVM() async throws -> VMID {
        let vm = try await createVM()
        #expect(try await laptop.acquireLease(vm) == Epoch(rawValue: 1))
        return vm
    }

    static func offer(
        _ sequence: UInt64, epoch: UInt64 = 1, _ pack: ByteBuffer, kind: CheckpointKind = .live,
        then: AfterCommit = .keep
    ) -> CommitOffer {
        CommitOffer(
            epoch: Epoch(rawValue: epoch), sequence: Sequence(rawValue: sequence),
            parent: Sequence(rawValue: max(sequence, 1) - 1), kind: kind, size: UInt64(pack.readableBytes),
            checksum: hash(of: pack), then: then)
    }

    @discardableResult
    func commit(
        _ sequence: UInt64, epoch: UInt64 = 1, to vm: VMID, pack: ByteBuffer? = nil, kind: CheckpointKind = .live,
        then: AfterCommit = .keep, by device: TestDevice? = nil
    ) async throws -> CheckpointRecord {
        let pack = pack ?? ByteBuffer(string: "pack \(sequence)")
        let offer = Self.offer(sequence, epoch: epoch, pack, kind: kind, then: then)
        return try await (device ?? laptopDevice).commit(offer, to: vm, pack: .bytes(pack))
    }

    /// A request as any HTTP client may make it, and what came back.
    func raw(
        _ method: String, _ path: String, headers: [String: String] = [:], body: HTTPClientRequest.Body? = nil
    ) async throws -> RawAnswer {
        var request = HTTPClientRequest(url: "\(laptop.url)/api/v1\(path)")
        request.method = .init(rawValue: method)
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        request.body = body
        let response = try await laptopDevice.http.execute(request, timeout: .seconds(30))
        let bytes = Data(buffer: try await response.body.collect(upTo: 10 << 20))
        let problem = try? JSONSerialization.jsonObject(with: bytes) as? [String: Any]
        return RawAnswer(Int(response.status.code), problem?["code"] as? String)
    }
}

/// The status of an answer, and the code if it is a problem.
struct RawAnswer: Equatable {
    let status: Int
    let code: String?

    init(_ status: Int, _ code: String?) {
        self.status = status
        self.code = code
    }
}

func hash(of bytes: ByteBuffer) -> ContentHash {
    ContentHash(digest: SHA256.hash(data: Data(buffer: bytes)))
}

extension Data {
    init(buffer: ByteBuffer) { self.init(buffer.readableBytesView) }
}

/// `count` bytes that zstd or chance can't make equal.
func randomBytes(_ count: Int) -> ByteBuffer {
    var generator = SystemRandomNumberGenerator()
    var buffer = ByteBuffer()
    for _ in 0..<(count / 8) { buffer.writeInteger(generator.next()) }
    buffer.writeBytes(repeatElement(UInt8(7), count: count % 8))
    return buffer
}

/// A folder that exists while `body` runs.
func withTemporaryFolder(_ body: (String) async throws -> Void) async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "vmsync-\(Identifier.random())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try await body(folder)
}

/// The error that `body` throws, nil if it throws none.
func failure(_ body: () async throws -> Void) async -> VMSyncError? {
    do {
        try await body()
        return nil
    } catch {
        return VMSyncError(error)
    }
}

/// Waits until `condition` holds; fails after a minute, which is for what hangs: a busy machine takes long for little.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(60)
    while ContinuousClock.now < deadline {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    Issue.record("never: \(what)")
}

/// Every file below `folder`, relative to it.
func files(in folder: String) throws -> [String] {
    try FileManager.default.subpathsOfDirectory(atPath: folder).filter { path in
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: "\(folder)/\(path)", isDirectory: &isFolder)
            && !isFolder.boolValue
    }
}
