import VMSyncCore

/// Who this device is to its server; `device.json`. Holds a secret, so its file is readable by its owner only.
package struct DeviceIdentity: Sendable, Codable {
    package var id: DeviceID
    package var name: String
    package var server: String
    package var token: String

    package init(id: DeviceID, name: String, server: String, token: String) {
        self.id = id
        self.name = name
        self.server = server
        self.token = token
    }

    /// - Throws: `wrongState` if this device has not joined a server.
    package static func load(_ folders: DeviceFolders) throws(VMSyncError) -> DeviceIdentity {
        guard let identity = try AtomicFile.read(DeviceIdentity.self, at: folders.identity) else {
            throw VMSyncError(
                .wrongState, "this device has not joined a server", hint: "vmsync join URL INVITATION")
        }
        return identity
    }
}
