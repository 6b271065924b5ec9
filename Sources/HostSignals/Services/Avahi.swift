/// Avahi, as far as it tells the local network of a service and hears of others. Any user may ask it.
struct Avahi: Sendable {
    static let service = "org.freedesktop.Avahi"
    static let browserInterface = "\(service).ServiceBrowser"
    private static let server = BusTarget(service: service, path: "/", interface: "\(service).Server")
    /// AVAHI_IF_UNSPEC and AVAHI_PROTO_UNSPEC.
    private static let any = BusArgument.int32(-1)
    /// Of what its browsers say. Which of them says it isn't known before it says the first.
    static let matches = ["type='signal',sender='\(service)',interface='\(browserInterface)'"]

    /// Something that a browser has found, or that has gone: a service, as one interface and one protocol show it.
    struct Item: Hashable, Sendable {
        let interface: Int32
        let `protocol`: Int32
        let name: String
        let type: String
        let domain: String

        /// - Throws: `malformed` if the signal is another one.
        init(_ signal: BusSignal) throws(BusError) {
            interface = try signal.values.int32(0)
            `protocol` = try signal.values.int32(1)
            name = try signal.values.string(2)
            type = try signal.values.string(3)
            domain = try signal.values.string(4)
        }
    }

    let bus: BusClient

    /// Tells the network of a service for as long as the client is connected.
    /// - Throws: as `BusClient.call`; `refused` if this host has told of that name before.
    func publish(_ name: String, _ type: String, at port: UInt16) async throws(BusError) {
        let path = try await bus.call("EntryGroupNew", of: Self.server).path()
        let group = BusTarget(service: Self.service, path: path, interface: "\(Self.service).EntryGroup")
        _ = try await bus.call(
            "AddService", of: group,
            with: [
                Self.any, Self.any, .uint32(0), .text(name), .text(type), .text(""), .text(""), .uint16(port),
                .noByteStrings,
            ])
        _ = try await bus.call("Commit", of: group)
    }

    /// Has it signal each service of a type that comes or goes, beginning with those that are there.
    func browse(_ type: String) async throws(BusError) {
        _ = try await bus.call(
            "ServiceBrowserNew", of: Self.server, with: [Self.any, Self.any, .text(type), .text(""), .uint32(0)])
    }

    /// Where it is, by an address of the protocol by which it was found.
    /// - Throws: as `BusClient.call`; `refused` if its host doesn't say.
    func resolve(_ item: Item) async throws(BusError) -> LocalService {
        let values = try await bus.call(
            "ResolveService", of: Self.server,
            with: [
                .int32(item.interface), .int32(item.protocol), .text(item.name), .text(item.type), .text(item.domain),
                .int32(item.protocol), .uint32(0),
            ])
        return LocalService(name: item.name, address: try values.string(7), port: try values.uint16(8))
    }
}
