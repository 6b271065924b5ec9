import AsyncHTTPClient
import Foundation
import NIOCore
import Testing
import VMSyncAPI
import VMSyncCore
import VMSyncServer

@Suite(.timeLimit(.minutes(1))) struct DeviceRoutesTests {
    @Test func theServerIsHealthyForAnybody() async throws {
        try await ServerFixture.with { it in
            try await SyncClient(url: it.url, token: nil, httpClient: it.http).checkHealth()
        }
    }

    @Test func joinedDevicesAreListed() async throws {
        try await ServerFixture.with { it in
            let devices = try await it.laptop.devices()
            #expect(devices.map(\.name) == ["laptop", "desktop"])
            #expect(devices.map(\.id) == [it.laptopID, it.desktopID])
            #expect(devices.allSatisfy { !$0.connected && $0.capabilities == nil })
        }
    }

    @Test func anInvitationWorksOnceAndForADayAndOnlyIfItWasMade() async throws {
        try await ServerFixture.with { it in
            let invitation = try await it.laptop.invite()
            #expect(invitation.expires == it.clock.now + .seconds(86_400))
            _ = try await it.laptop.join(invitation: invitation.invitation, name: "phone", platform: "linux")
            let used = await failure {
                _ = try await it.laptop.join(invitation: invitation.invitation, name: "tablet", platform: "linux")
            }
            #expect(used?.code == .unauthorized && used?.message.contains("already used") == true)
            let late = try await it.laptop.invite().invitation
            it.clock.advance(by: .seconds(86_400))
            let expired = await failure { _ = try await it.laptop.join(invitation: late, name: "tv", platform: "x") }
            #expect(expired?.code == .unauthorized && expired?.message.contains("expired") == true)
            let unknown = await failure {
                _ = try await it.laptop.join(invitation: "0000-0000-0000-0000", name: "tv", platform: "x")
            }
            #expect(unknown?.code == .unauthorized && unknown?.hint != nil)
        }
    }

    @Test func anInvitationIsForgivingToTypeAndARefusedJoinDoesNotUseItUp() async throws {
        try await ServerFixture.with { it in
            let code = try await it.laptop.invite().invitation
            let taken = await failure { _ = try await it.laptop.join(invitation: code, name: "laptop", platform: "x") }
            #expect(taken?.code == .alreadyExists)
            let bad = await failure { _ = try await it.laptop.join(invitation: code, name: "a b", platform: "x") }
            #expect(bad?.code == .invalidInput)
            let typed = code.uppercased().replacingOccurrences(of: "-", with: " ")
                .replacingOccurrences(of: "0", with: "O").replacingOccurrences(of: "1", with: "I")
            _ = try await it.laptop.join(invitation: typed, name: "phone", platform: "x")
        }
    }

    @Test func aRunningServersFolderCanBeInvitedTo() async throws {
        try await ServerFixture.with { it in
            let code = try await SyncServer.invite(to: StorePlaces(dataFolder: it.folder)).invitation
            // The other process goes by the real clock; this one stands in the past, when it is still good.
            _ = try await it.laptop.join(invitation: code, name: "phone", platform: "x")
        }
        let nowhere = await failure { _ = try await SyncServer.invite(to: StorePlaces(dataFolder: "/nonexistent")) }
        #expect(nowhere?.code == .notFound)
    }

    @Test func withoutAKnownTokenNothingIsAnswered() async throws {
        try await ServerFixture.with { it in
            for token in [nil, String(repeating: "0", count: 64), ""] {
                let client = try SyncClient(url: it.url, token: token, httpClient: it.http)
                #expect(await failure { _ = try await client.vms() }?.code == .unauthorized)
            }
            let basic = try await it.raw("GET", "/vms", headers: ["Authorization": "Basic \(it.token)"])
            #expect(basic.status == 401)
        }
    }

    @Test func capabilitiesAreReadByOthersAsTheyWereTold() async throws {
        try await ServerFixture.with { it in
            let told = ["qemu": JSONValue.string("7.2.22"), "cpus": .array([.string("qemu64"), .null, .number(1.5)])]
            try await it.laptop.setCapabilities(told)
            #expect(try await it.desktop.devices().first?.capabilities == .object(told))
            let long = String(repeating: "x", count: APILimits.capabilitiesBytesMax)
            #expect(await failure { try await it.laptop.setCapabilities(long) }?.code == .invalidInput)
            let broken = try await it.raw("PUT", "/devices/self/capabilities", body: .bytes(ByteBuffer(string: "{")))
            #expect(broken.status == 400 && broken.code == "invalid-input")
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
                let answer = try await it.raw("PUT", "/devices/self/capabilities", body: body)
                #expect(answer.status == (depth == 400 ? 204 : 400))
            }
            #expect(try await it.desktop.devices().count == 2)
        }
    }

    @Test func anUnreachableServerIsUnavailableWithAHint() async throws {
        try await ServerFixture.with { it in
            let nobody = try SyncClient(url: "http://127.0.0.1:1", token: nil, httpClient: it.http)
            let error = await failure { try await nobody.checkHealth() }
            #expect(error?.code == .unavailable && error?.hint != nil)
            for url in ["", "https://127.0.0.1:1", "http://", "http://h/path", "file:///x"] {
                #expect(
                    await failure { _ = try SyncClient(url: url, token: nil, httpClient: it.http) }?.code
                        == .invalidInput)
            }
        }
    }
}
