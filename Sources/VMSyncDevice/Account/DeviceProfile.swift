import Foundation
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncSecrets

/// What a device tells the others of itself; the server holds it encrypted.
struct DeviceProfile: Sendable, Codable, Hashable {
    var name: String
    var platform: String
    /// What it can run; nil until its daemon has looked.
    var capabilities: HostCapabilities?
    /// Whether it never runs a VM; nil is no.
    var isMirror: Bool?
    /// Where the owner's other devices reach it, as `HOST:PORT`.
    var addresses: [String]?

    /// More cards than that no device has, or they are not for reaching it.
    static let addressesMax = 16

    /// It is some 5 KB.
    private static let jsonBytesMax = 1 << 20
    /// It is made seldom, and read often.
    private static let level: Int32 = 19

    /// Of this device.
    init(of me: DeviceIdentity, capabilities: HostCapabilities?, addresses: [String]? = nil) {
        name = me.name
        platform = Self.here
        self.capabilities = capabilities
        isMirror = me.isMirror
        self.addresses = addresses
    }

    private init(name: String, platform: String) {
        self.name = name
        self.platform = platform
    }

    /// The platform that this is.
    private static var here: String {
        "\(ProcessInfo.processInfo.operatingSystemVersionString.prefix(40)) \(architecture)"
    }

    private static var architecture: String {
        #if arch(arm64)
            "aarch64"
        #else
            "x86_64"
        #endif
    }

    func publish(_ account: Account, _ client: SyncClient) async throws {
        // The names of machines and processors that QEMU knows are many, and all devices read them whenever one comes or goes.
        let frame = try ZstdCompressor(level: Self.level).frame(of: Array(JSONEncoder().encode(self)))
        try await client.setProfile(try account.encrypt(frame, .device(account.keys.id), of: .account))
    }

    /// The profile in `record`. A device whose profile can't be read is called by the beginning of its id.
    static func read(_ record: DeviceRecord, _ account: Account) -> DeviceProfile {
        let unknown = DeviceProfile(name: String(record.id.rawValue.prefix(7)), platform: "?")
        guard let encrypted = record.profile,
            let frame = try? account.decrypt(encrypted, .device(record.id), of: .account),
            let json = try? ZstdDecompressor().bytes(of: frame, limit: jsonBytesMax),
            var profile = try? JSONDecoder().decode(DeviceProfile.self, from: Data(json)),
            let name = try? Name.checked(profile.name, of: "device")
        else { return unknown }
        profile.name = name
        return profile
    }
}
