import Foundation
import NIOPosix
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets

/// Who this device is to its servers; `device.json`.
package struct DeviceIdentity: Sendable, Codable {
    package var id: DeviceID
    package var name: String
    /// Addresses, such as `https://127.0.0.1:7430`; all have the certificate below.
    package var servers: [String]
    /// In DER.
    package var serverCertificate: Data
    /// Whether it follows all VMs and never runs one; nil is no. (docs/protocol/catch-up.md, "Mirrors")
    package var isMirror: Bool?

    package init(id: DeviceID, name: String, servers: [String], serverCertificate: Data, isMirror: Bool? = nil) {
        self.id = id
        self.name = name
        self.servers = servers
        self.serverCertificate = serverCertificate
        self.isMirror = isMirror
    }

    /// Why it runs no VM, if so.
    var mirrorProblem: VMSyncError? {
        guard isMirror ?? false else { return nil }
        return VMSyncError(
            .incompatible, "\(name) is a mirror: it keeps copies and never runs a VM", hint: "vmsync devices",
            device: name)
    }

    /// A server's address as another device takes it.
    package var address: String { "\(servers.first ?? "")/#\(serverID)" }

    package var serverID: DeviceID { SelfSignedCertificate.id(of: Array(serverCertificate)) }

    /// - Throws: `wrongState` if this device has not joined a server.
    package static func load(_ folders: DeviceFolders) throws(VMSyncError) -> DeviceIdentity {
        guard let identity = try AtomicFile.read(DeviceIdentity.self, at: folders.identity), !identity.servers.isEmpty
        else {
            throw VMSyncError(
                .wrongState, "this device has not joined a server", hint: "vmsync join https://HOST:PORT/#ID CODE")
        }
        return identity
    }
}

extension DeviceKeys {
    /// This device's keys; made when there are none. Blocking.
    static func loadOrMake(_ folders: DeviceFolders) throws(VMSyncError) -> DeviceKeys {
        if let known = try load(folders) { return known }
        let keys = try DeviceKeys(now: Date().timeIntervalSince1970)
        try AtomicFile.write(bytes: Array(try keys.json()), to: folders.keys, durable: true)
        return keys
    }

    package static func load(_ folders: DeviceFolders) throws(VMSyncError) -> DeviceKeys? {
        guard let json = FileManager.default.contents(atPath: folders.keys) else { return nil }
        return try DeviceKeys(json: json)
    }
}
