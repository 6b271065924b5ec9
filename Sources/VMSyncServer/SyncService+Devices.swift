import Crypto
import Foundation
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncStore

extension SyncService {
    /// How long an invitation can be used.
    static let invitationLifetime: Duration = .seconds(24 * 60 * 60)

    func invite() async throws -> Invitation { try await Self.invite(to: metadata) }

    /// Adds an invitation to a store, also that of a server in another process.
    static func invite(to metadata: some MetadataStore) async throws -> Invitation {
        let code = InvitationCode.random()
        return Invitation(
            invitation: code.text, expires: try await metadata.invite(code.hash, lifetime: invitationLifetime))
    }

    func join(_ request: JoinRequest) async throws -> JoinAnswer {
        let name = try Name.checked(request.name, of: "device")
        guard request.platform.count <= APILimits.platformLengthMax else {
            throw VMSyncError(.invalidInput, "a platform has at most \(APILimits.platformLengthMax) letters")
        }
        let token = Token.random()
        let device = try await metadata.join(
            .random(), name: name, platform: request.platform, token: token.hash,
            invitation: InvitationCode(typed: request.invitation).hash)
        events.publishDevices()
        return JoinAnswer(device: record(of: device), token: token.text)
    }

    /// The device that has this token.
    func device(token: String) async throws -> DeviceID {
        guard let device = try await metadata.device(token: Token(text: token).hash) else {
            throw VMSyncError(.unauthorized, "the server does not know this device", hint: "vmsync join")
        }
        return device
    }

    func devices() async throws -> [DeviceRecord] { try await metadata.devices().map(record(of:)) }

    /// Keeps what the device tells of itself. It is read as JSON only to know that others can.
    func setCapabilities(_ json: ByteBuffer, of device: DeviceID) async throws {
        _ = try WireJSON.decode(JSONValue.self, from: json, failing: .invalidInput)
        try await metadata.setCapabilities(String(buffer: json), of: device)
        events.publishDevices()
    }

    /// The device listens here; said again with each heartbeat.
    func arrived(_ device: DeviceID) async throws {
        if try await metadata.arrived(device, at: id) { events.publishDevices() }
    }

    func left(_ device: DeviceID) async throws {
        try await metadata.left(device, from: id)
        events.publishDevices()
    }

    private func record(of device: StoredDevice) -> DeviceRecord {
        DeviceRecord(
            id: device.id, name: device.name, platform: device.platform, joined: device.joined,
            lastSeen: device.lastSeen, connected: device.isConnected,
            capabilities: device.capabilities.flatMap {
                try? JSONDecoder().decode(JSONValue.self, from: Data($0.utf8))
            })
    }
}
