import Foundation
import VMSyncAPI
import VMSyncCore

extension DeviceIdentity {
    /// Joins a server and notes who this device is now.
    /// - Throws: `alreadyExists` if it has joined one before; what the server refuses.
    package static func join(
        server: String, invitation: String, name: String, folders: DeviceFolders
    ) async throws -> DeviceIdentity {
        try folders.make()
        if let known = try AtomicFile.read(DeviceIdentity.self, at: folders.identity) {
            throw VMSyncError(
                .alreadyExists, "this device has joined \(known.server) as \"\(known.name)\"",
                hint: "use another --state folder for another device")
        }
        let name = try Name.checked(name, of: "device")
        let http = SyncClient.makeHTTPClient()
        let answer: JoinAnswer
        do {
            let client = try SyncClient(url: server, token: nil, httpClient: http)
            answer = try await client.join(invitation: invitation, name: name, platform: platform)
        } catch {
            try await http.shutdown()
            throw error
        }
        try await http.shutdown()
        let identity = DeviceIdentity(
            id: answer.device.id, name: answer.device.name, server: server, token: answer.token)
        try AtomicFile.write(identity, to: folders.identity, durable: true)
        return identity
    }

    private static var platform: String {
        "\(ProcessInfo.processInfo.operatingSystemVersionString.prefix(40)) \(Self.architecture)"
    }

    private static var architecture: String {
        #if arch(arm64)
            "aarch64"
        #else
            "x86_64"
        #endif
    }
}
