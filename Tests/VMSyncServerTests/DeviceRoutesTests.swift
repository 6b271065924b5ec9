import AsyncHTTPClient
import Foundation
import NIOCore
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets
import VMSyncServer

@Suite(.timeLimit(.minutes(1))) struct DeviceRoutesTests {
    @Test func theServerIsHealthyForAnybody() async throws {
        try await ServerFixture.with { it in
            try await it.maker.make(at: it.address).client.checkHealth()
        }
    }

    @Test func membersAreListed() async throws {
        try await ServerFixture.with { it in
            let devices = try await it.laptop.devices()
            #expect(devices.map(\.id) == [it.laptopID, it.desktopID])
            #expect(devices.allSatisfy { !$0.connected && $0.profile == nil })
        }
    }

    @Test func withoutAMembershipNothingIsAnswered() async throws {
        try await ServerFixture.with { it in
            let stranger = try await it.maker.make(at: it.address)
            #expect(await failure { _ = try await stranger.client.vms() }?.code == .unauthorized)
            #expect(await failure { _ = try await stranger.client.roster(from: 0) }?.code == .unauthorized)
            #expect(await failure { _ = try await stranger.client.grants() }?.code == .unauthorized)
            let unasked = await failure { _ = try await stranger.client.joinState() }
            #expect(unasked?.code == .notFound)
        }
    }

    @Test func withoutACertificateNothingIsAnswered() async throws {
        try await ServerFixture.with { it in
            var configuration = HTTPClient.Configuration()
            configuration.tlsConfiguration = .makeClientConfiguration()
            configuration.tlsConfiguration?.certificateVerification = .none
            let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
            let anonymous = SyncClient(servers: ServerRing([it.laptop.url]), httpClient: http)
            let error = await failure { _ = try await anonymous.vms() }
            #expect(error?.code == .unauthorized || error?.code == .unavailable)
            try await http.shutdown()
        }
    }

    @Test func anotherServerInItsPlaceIsNotTalkedTo() async throws {
        try await ServerFixture.with { it in
            let keys = try DeviceKeys(now: 1_700_000_000)
            let address = try ServerAddress(it.address)
            let other = ServerAddress(host: address.host, port: address.port, id: .random())
            let refused = await failure { _ = try await PinnedTLS.certificate(of: other, keys) }
            #expect(refused?.code == .unauthorized && refused?.hint != nil)
            // Also later, when the certificate is known and the address is somebody else's.
            let http = try SyncClient.makeHTTPClient(keys, server: [UInt8](keys.identity.certificate))
            let client = SyncClient(servers: ServerRing([address.url]), httpClient: http)
            #expect(await failure { try await client.checkHealth() }?.code == .unavailable)
            try await http.shutdown()
        }
    }

    @Test func accountsSeeNothingOfEachOther() async throws {
        try await ServerFixture.with { it in
            let code = try await SyncServer.invite(to: StorePlaces(dataFolder: it.folder)).invitation
            let neighbour = try await it.maker.make(at: it.address)
            _ = try await neighbour.found(code)
            let vm = try await it.activeVM()
            let record = try await it.commit(1, to: vm)
            let client = neighbour.client
            #expect(try await client.devices().map(\.id) == [neighbour.id])
            #expect(try await client.vms().isEmpty)
            let attempts: [@Sendable () async throws -> Void] = [
                { _ = try await client.vm(vm) }, { _ = try await client.chunks(of: vm) },
                { _ = try await client.checkpoints(of: vm) }, { _ = try await client.acquireLease(vm, force: true) },
                { _ = try await client.fetch(record.pack, of: vm, bytesMax: 100) }, { try await client.deleteVM(vm) },
                { _ = try await client.requestSwitch(vm, to: neighbour.id) },
                { try await it.commit(2, to: vm, by: neighbour) },
            ]
            for attempt in attempts { #expect(await failure { try await attempt() }?.code == .notFound) }
            var watcher = Watcher(client)
            try await watcher.until { $0.readies == 1 }
            try await it.commit(2, to: vm)
            try await client.setProfile([1])
            try await watcher.until { $0.devices.first?.profile != nil }
            #expect(watcher.vms.isEmpty)
        }
    }

    @Test func profilesAreReadByOthersAsTheyWereTold() async throws {
        try await ServerFixture.with { it in
            try await it.laptop.setProfile([0, 1, 255])
            #expect(try await it.desktop.devices().first?.profile == Data([0, 1, 255]))
            let long = [UInt8](repeating: 0, count: APILimits.profileBytesMax + 1)
            #expect(await failure { try await it.laptop.setProfile(long) }?.code == .invalidInput)
        }
    }

    @Test func whatIsNotARouteOrNotJSONIsAProblem() async throws {
        try await ServerFixture.with { it async throws -> Void in
            #expect(try await it.raw("GET", "/nothing") == RawAnswer(404, "not-found"))
            #expect(try await it.raw("GET", "/vms/..%2f..") == RawAnswer(404, "not-found"))
            #expect(
                try await it.raw("POST", "/vms", body: .bytes(ByteBuffer(string: "nonsense")))
                    == RawAnswer(400, "invalid-input"))
            #expect(
                try await it.raw("POST", "/vms", body: .bytes(ByteBuffer(string: "{}")))
                    == RawAnswer(400, "invalid-input"))
            let huge = ByteBuffer(repeating: 0x20, count: APILimits.requestBytesMax + 1)
            #expect(try await it.raw("POST", "/vms", body: .bytes(huge)) == RawAnswer(413, "invalid-input"))
        }
    }

    @Test func jsonThatIsNestedBeyondReasonIsAnErrorAndTheServerGoesOn() async throws {
        try await ServerFixture.with { it async throws -> Void in
            for depth in [400, 30_000] {
                let text = String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
                let body = HTTPClientRequest.Body.bytes(ByteBuffer(string: text))
                #expect(try await it.raw("POST", "/vms", body: body) == RawAnswer(400, "invalid-input"))
            }
            #expect(try await it.desktop.devices().count == 2)
        }
    }

    @Test func anUnreachableServerIsUnavailableWithAHint() async throws {
        try await ServerFixture.with { it in
            let nobody = SyncClient(servers: ServerRing(["https://127.0.0.1:1"]), httpClient: it.laptopDevice.http)
            let error = await failure { try await nobody.checkHealth() }
            #expect(error?.code == .unavailable && error?.hint != nil)
            let both = SyncClient(
                servers: ServerRing(["https://127.0.0.1:1", it.laptop.url]), httpClient: it.laptopDevice.http)
            try await both.checkHealth()
        }
        let id = DeviceID.random()
        for url in [
            "", "http://127.0.0.1:1/#\(id)", "https://", "https://h/path#\(id)", "file:///x", "https://h:1",
            "https://h:1/#x",
        ] { #expect(await failure { _ = try ServerAddress(url) }?.code == .invalidInput, "\(url)") }
        let plain = try ServerAddress("https://[::1]:7/#\(id)")
        #expect(plain.host == "::1" && plain.port == 7 && plain.text == "https://[::1]:7/#\(id)")
        #expect(try ServerAddress("https://box/#\(id.grouped)") == ServerAddress(host: "box", port: 7430, id: id))
    }
}
