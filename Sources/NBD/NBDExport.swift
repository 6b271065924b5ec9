/// A device under the name by which clients ask for it.
struct NBDExport: Sendable {
    let name: String
    let device: any BlockDevice

    /// What this server can do with the device. DF belongs to structured replies and is told only with them.
    func flags(structured: Bool) -> NBDTransmissionFlags {
        var flags: NBDTransmissionFlags = [
            .hasFlags, .flush, .forceUnitAccess, .trim, .writeZeroes, .multipleConnections,
        ]
        if structured { flags.insert(.doNotFragment) }
        if device.zeroesFast { flags.insert(.fastZero) }
        return flags
    }
}

/// What the handshake has settled for the transmission phase.
struct NBDSession: Sendable {
    let export: NBDExport
    let structured: Bool
    /// Whether the client may ask for BLOCK_STATUS.
    let allocationContext: Bool
}

/// All devices of a server by name.
struct NBDExports: Sendable {
    private let devices: [String: any BlockDevice]

    init(_ devices: [String: any BlockDevice]) { self.devices = devices }

    var names: [String] { devices.keys.sorted() }

    /// The export of that name. The empty name asks for the default, which is the only export if there is only one.
    subscript(name: String) -> NBDExport? {
        if let device = devices[name] { return NBDExport(name: name, device: device) }
        guard name.isEmpty, devices.count == 1, let only = devices.first else { return nil }
        return NBDExport(name: only.key, device: only.value)
    }
}
