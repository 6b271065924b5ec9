/// NetworkManager, as far as it says what a connection costs and which one it is. Any user may read this.
struct NetworkManager: Sendable {
    static let service = "org.freedesktop.NetworkManager"
    private static let manager = BusTarget(
        service: service, path: "/org/freedesktop/NetworkManager", interface: service)
    /// Its properties change with each connection, and with what the best one costs.
    static let matches = [
        "type='signal',sender='\(service)',path='\(manager.path)',interface='\(BusTarget.properties)',"
            + "member='PropertiesChanged',arg0='\(service)'"
    ]

    /// What NetworkManager says of one interface.
    struct Device: Sendable {
        let metered: Metered?
        /// nil if it isn't NetworkManager's: it has none, or somebody else made it.
        let connection: Connection?
    }

    struct Connection: Sendable {
        let uuid: String
        let name: String
        /// As `802-3-ethernet`.
        let type: String

        /// Only one network can be meant. Of all others, cables above all, there is one for many networks.
        var isOfOneNetwork: Bool { ["802-11-wireless", "gsm", "cdma", "bluetooth"].contains(type) }
    }

    /// NM_ACTIVATION_STATE_FLAG_EXTERNAL: set up by somebody else; its UUID is another one at each start.
    private static let external: UInt32 = 0x80
    /// An object path that stands for no object.
    private static let nothing = "/"

    let bus: BusClient

    /// - Throws: as `BusClient.call`; `refused` if NetworkManager doesn't know the interface, or doesn't run.
    func device(_ interface: String) async throws(BusError) -> Device {
        let path = try await bus.call("GetDeviceByIpIface", of: Self.manager, [interface]).path()
        let device = BusTarget(service: Self.service, path: path, interface: "\(Self.service).Device")
        let metered = try await bus.property("Metered", of: device).uint32()
        let active = try await bus.property("ActiveConnection", of: device).path()
        return Device(
            metered: Metered(networkManager: metered),
            connection: active == Self.nothing ? nil : try await connection(active))
    }

    private func connection(_ path: String) async throws(BusError) -> Connection? {
        let active = BusTarget(service: Self.service, path: path, interface: "\(Self.service).Connection.Active")
        let flags = try await bus.property("StateFlags", of: active).uint32()
        guard flags & Self.external == 0 else { return nil }
        return Connection(
            uuid: try await bus.property("Uuid", of: active).string(),
            name: try await bus.property("Id", of: active).string(),
            type: try await bus.property("Type", of: active).string())
    }
}
