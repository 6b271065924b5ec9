/// Reads how the host is connected: the kernel's tables, and what NetworkManager says of the interfaces in them.
struct NetworkReader: Sendable {
    let paths: HostPaths
    /// nil if nobody listens to a bus.
    let manager: NetworkManager?

    struct Result: Sendable {
        let network: HostNetwork
        /// What tells the link's connection from any other; nil without one.
        let connection: String?
        /// To be asked for its hardware address, which is missing.
        let silentGateway: (address: IPv4Address, interface: String)?
    }

    /// What the kernel says.
    struct Tables: Sendable {
        let routes: RouteTable
        let neighbours: ARPTable
        /// Those of the default routes, the best first.
        let interfaces: [NetworkInterface]
    }

    func tables() throws(KernelFile.Failure) -> Tables {
        // Without IPv6 in the kernel there is no such file.
        let ipv6 = try? KernelFile.text("\(paths.net)/ipv6_route")
        let routes = RouteTable(ipv4: try KernelFile.text("\(paths.net)/route"), ipv6: ipv6 ?? "")
        return Tables(
            routes: routes, neighbours: ARPTable(parsing: try KernelFile.text("\(paths.net)/arp")),
            interfaces: routes.defaults.map { NetworkInterface(name: $0.interface, root: paths.sys) })
    }

    func read() async -> Result {
        let tables: Tables
        do {
            tables = try await Blocking.run { () throws(KernelFile.Failure) in try self.tables() }
        } catch {
            return Self.nothing(because: error.words)
        }
        guard let top = tables.interfaces.first else { return Self.nothing(because: "there is no default route") }
        guard let link = tables.interfaces.firstIndex(where: { !$0.isTunnel }) else {
            return await read(onlyTunnel: top)
        }
        return await read(top, link: tables.interfaces[link], route: tables.routes.defaults[link], tables)
    }

    private static func nothing(because reason: String) -> Result {
        Result(
            network: HostNetwork(interface: .unknown(reason), metered: .unknown(reason), place: .unknown(reason)),
            connection: nil, silentGateway: nil)
    }

    private func read(onlyTunnel tunnel: NetworkInterface) async -> Result {
        let reason = "all goes through \(tunnel.name), and no route says what that goes through"
        let metered = Metered.together(tunnel: await look(tunnel).metered, link: .unknown(reason))
        return Result(
            network: HostNetwork(interface: .known(tunnel.name), metered: metered, place: .unknown(reason)),
            connection: nil, silentGateway: nil)
    }

    private func read(
        _ top: NetworkInterface, link: NetworkInterface, route: RouteTable.Default, _ tables: Tables
    ) async -> Result {
        let ofLink = await look(link)
        let metered =
            top == link
            ? ofLink.metered : Metered.together(tunnel: await look(top).metered, link: ofLink.metered)
        let gateway = route.gateway.flatMap { tables.neighbours.hardwareAddress(of: $0, on: link.name) }
        let place = Self.place(ofLink.connection, route, gateway: gateway, tables.routes)
        let silent = gateway == nil ? route.gateway.map { (address: $0, interface: link.name) } : nil
        return Result(
            network: HostNetwork(interface: .known(top.name), metered: metered, place: place),
            connection: ofLink.connection.map { "\($0.uuid) \(link.name)" }, silentGateway: silent)
    }

    private static func place(
        _ connection: NetworkManager.Connection?, _ route: RouteTable.Default, gateway: String?, _ routes: RouteTable
    ) -> Reading<HostPlace> {
        if let connection, connection.isOfOneNetwork {
            return .known(HostPlace(connection: connection.uuid, name: connection.name))
        }
        guard let address = route.gateway else { return .unknown("the default route has no gateway of IPv4") }
        guard let gateway else { return .unknown("the hardware address of the gateway \(address) isn't known yet") }
        if let connection {
            return .known(HostPlace(connection: connection.uuid, name: connection.name, gateway: gateway))
        }
        let subnet = routes.subnet(of: address, on: route.interface) ?? "\(address)"
        return .known(HostPlace(gateway: gateway, subnet: subnet))
    }

    // MARK: One interface

    /// What one interface costs, and which connection of NetworkManager's it is.
    private func look(
        _ interface: NetworkInterface
    ) async -> (metered: Reading<Metered>, connection: NetworkManager.Connection?) {
        do throws(BusError) {
            guard let manager else { throw BusError(.notConnected, "the bus isn't listened to yet") }
            let device = try await manager.device(interface.name)
            let unknown = Self.guess(interface, "NetworkManager doesn't know what \(interface.name) costs")
            return (device.metered.map(Reading.known) ?? unknown, device.connection)
        } catch {
            return (Self.guess(interface, error.isAbsent ? "NetworkManager doesn't run" : error.message), nil)
        }
    }

    /// Without NetworkManager: a telephone or a modem costs; of anything else nothing can be said.
    private static func guess(_ interface: NetworkInterface, _ reason: String) -> Reading<Metered> {
        interface.isMobile ? .known(.guessedYes) : .unknown(reason)
    }
}
