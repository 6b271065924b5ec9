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
import VMSyncServer

/// A clock that stands until it is moved.
final class ManualClock: Sendable {
    private let time = Mutex(Timestamp(rawValue: 1_700_000_000_000))
    var now: Timestamp { time.withLock { $0 } }
    func advance(by duration: Duration) { time.withLock { $0 = $0 + duration } }
}

/// A real server on loopback in this process, with a laptop and a desktop that have joined it.
struct ServerFixture: Sendable {
    let url: String
    let folder: String
    let clock: ManualClock
    let http: HTTPClient
    let laptop: SyncClient
    let desktop: SyncClient
    let laptopID: DeviceID
    let desktopID: DeviceID
    /// The laptop's secret, for requests that `SyncClient` would not make.
    let token: String

    static func with(
        heartbeat: Duration = .seconds(15), silenceMax: Duration = .seconds(120),
        _ body: @Sendable (ServerFixture) async throws -> Void
    ) async throws {
        try await withTemporaryFolder { folder in
            let http = SyncClient.makeHTTPClient()
            let clock = ManualClock()
            var configuration = SyncServer.Configuration(places: StorePlaces(dataFolder: folder))
            configuration.heartbeat = heartbeat
            configuration.silenceMax = silenceMax
            do {
                try await running(configuration, clock) { listening in
                    try await body(try await joined(listening, folder, clock, http))
                }
            } catch {
                try await http.shutdown()
                throw error
            }
            try await http.shutdown()
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
        _ listening: SyncServer.Listening, _ folder: String, _ clock: ManualClock, _ http: HTTPClient
    ) async throws -> ServerFixture {
        let anybody = try SyncClient(url: listening.listening, token: nil, httpClient: http)
        let code = try #require(listening.invitation)
        let laptop = try await anybody.join(invitation: code, name: "laptop", platform: "linux")
        let asLaptop = try SyncClient(url: listening.listening, token: laptop.token, httpClient: http)
        let invitation = try await asLaptop.invite().invitation
        let desktop = try await anybody.join(invitation: invitation, name: "desktop", platform: "linux")
        return ServerFixture(
            url: listening.listening, folder: folder, clock: clock, http: http, laptop: asLaptop,
            desktop: try SyncClient(url: listening.listening, token: desktop.token, httpClient: http),
            laptopID: laptop.device.id, desktopID: desktop.device.id, token: laptop.token)
    }

    // MARK: What many tests do

    func createVM(_ name: String = "work") async throws -> VMID {
        try await laptop.createVM(.random(), name: name, definition: Data([1, 2, 3]), chunks: []).id
    }

    /// A VM that is active on the laptop under epoch 1.
    func activeVM(_ name: String = "work") async throws -> VMID {
        let vm = try await createVM(name)
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
            checksum: hash(of: pack), digest: "d-\(sequence)", then: then)
    }

    @discardableResult
    func commit(
        _ sequence: UInt64, epoch: UInt64 = 1, to vm: VMID, pack: ByteBuffer? = nil, kind: CheckpointKind = .live,
        then: AfterCommit = .keep, by client: SyncClient? = nil
    ) async throws -> CheckpointRecord {
        let pack = pack ?? ByteBuffer(string: "pack \(sequence)")
        let offer = Self.offer(sequence, epoch: epoch, pack, kind: kind, then: then)
        return try await (client ?? laptop).commit(offer, to: vm, pack: .bytes(pack))
    }

    /// A request as any HTTP client may make it, and what came back.
    func raw(
        _ method: String, _ path: String, headers: [String: String] = [:], body: HTTPClientRequest.Body? = nil
    ) async throws -> RawAnswer {
        var request = HTTPClientRequest(url: "\(url)/api/v1\(path)")
        request.method = .init(rawValue: method)
        request.headers.add(name: "Authorization", value: "Bearer \(token)")
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        request.body = body
        let response = try await http.execute(request, timeout: .seconds(30))
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

/// Waits until `condition` holds; fails after ten seconds.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(10)
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
