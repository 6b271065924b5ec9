import AsyncHTTPClient
import NIOHTTP1
import VMSyncCore

extension SyncClient {
    /// Whether a sync server answers there.
    package func checkHealth() async throws {
        let _: Health = try await ask(.GET, "/healthz")
    }

    /// Becomes a device of this server.
    /// - Throws: `unauthorized` for an invitation that is unknown, used or expired; `alreadyExists` for a name.
    package func join(invitation: String, name: String, platform: String) async throws -> JoinAnswer {
        try await ask(.POST, "/join", JoinRequest(invitation: invitation, name: name, platform: platform))
    }

    /// A code with which one more device can join.
    package func invite() async throws -> Invitation { try await ask(.POST, "/invitations") }

    package func devices() async throws -> [DeviceRecord] {
        try await ask(.GET, "/devices", as: DeviceList.self).devices
    }

    /// Tells the other devices what this one can run.
    package func setCapabilities(_ capabilities: some Encodable & Sendable) async throws {
        try await tell(.PUT, "/devices/self/capabilities", capabilities)
    }
}
