import Foundation
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets
import VMSyncStore

extension SyncService {
    /// - Parameter certificate: in DER.
    /// - Throws: `unauthorized` unless the device is a member of an account.
    func member(with certificate: [UInt8]) async throws -> Caller {
        let device = SelfSignedCertificate.id(of: certificate)
        guard let membership = try await metadata.membership(of: device) else {
            throw VMSyncError(.unauthorized, "the server does not know this device", hint: "vmsync join")
        }
        guard membership.isMember else {
            throw VMSyncError(
                .unauthorized, "this device was revoked", hint: "to use it again, join with another --state folder")
        }
        return Caller(device: device, certificate: certificate, account: membership.account)
    }

    /// - Throws: `unauthorized` if the caller isn't among them any more.
    func devices(for caller: Caller) async throws -> [DeviceRecord] {
        let devices = try await metadata.devices(of: caller.account)
        guard devices.contains(where: { $0.id == caller.device }) else {
            throw VMSyncError(.unauthorized, "this device was revoked")
        }
        return devices.map {
            DeviceRecord(
                id: $0.id, joined: $0.joined, lastSeen: $0.lastSeen, connected: $0.isConnected,
                profile: $0.profile.map { Data($0) })
        }
    }

    func setProfile(_ profile: ByteBuffer, of caller: Caller) async throws {
        try await metadata.setProfile(Array(buffer: profile), of: caller.device)
        events.publishDevices(to: caller.account)
    }

    func servers() async throws -> ServerList { ServerList(urls: try await metadata.servers()) }

    /// The device listens here; said again with each heartbeat.
    func arrived(_ caller: Caller) async throws {
        if try await metadata.arrived(caller.device, at: id) { events.publishDevices(to: caller.account) }
    }

    func left(_ caller: Caller) async throws {
        try await metadata.left(caller.device, from: id)
        events.publishDevices(to: caller.account)
    }
}
