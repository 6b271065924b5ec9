import AsyncHTTPClient
import Foundation
import HostSignals
import Logging
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets

/// How this device reaches the owner's others without the server, and they it.
actor DirectLinks {
    /// Another device, which answers.
    struct Peer: Sendable, Equatable {
        let device: DeviceID
        let client: SyncClient

        static func == (left: Peer, right: Peer) -> Bool { left.device == right.device }
    }

    private let account: Account
    private let path: String
    private let logger: Logger
    /// Where each device was last known to listen.
    private var addresses: [DeviceID: [String]]
    /// Where the local network says that they are.
    private var nearby: [DeviceID: [String]] = [:]
    private var clients: [DeviceID: HTTPClient] = [:]
    private var place: (host: String, port: Int)?
    private let listening = Gate()

    /// - Parameter path: of the file that keeps the addresses.
    init(_ account: Account, path: String, logger: Logger) {
        self.account = account
        self.path = path
        self.logger = logger
        addresses =
            AtomicFile.readIfWhole([DeviceID: [String]].self, at: path) { logger.warning("\($0.message)") } ?? [:]
    }

    // MARK: This device

    /// - Parameter host: `0.0.0.0` or `::` for all cards.
    func listens(at host: String, _ port: Int) {
        place = (host, port)
        listening.open()
    }

    /// This device listens nowhere.
    func staysAlone() { listening.open() }

    /// Where the others reach this device, as `HOST:PORT`; none if it doesn't listen.
    func ownAddresses() async -> [String] {
        await listening.wait()
        guard let (host, port) = place else { return [] }
        if !Self.allCards.contains(host) { return [Self.text(host, port)] }
        let cards = (try? System.enumerateDevices()) ?? []
        let hosts = cards.compactMap { card -> String? in
            switch card.address {
            case .v4(let address) where !Self.isOfThisHost(card.address): address.host
            case .v6(let address) where host == "::" && !Self.isOfThisHost(card.address): address.host
            default: nil
            }
        }
        return Array(Set(hosts)).sorted().prefix(DeviceProfile.addressesMax).map { Self.text($0, port) }
    }

    /// `HOST:PORT`, as an address in a URL is written.
    private static func text(_ host: String, _ port: Int) -> String {
        host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    private static let allCards: Set = ["0.0.0.0", "::"]

    /// Whether nobody else reaches it: the loopback, and what is good on one cable only.
    private static func isOfThisHost(_ address: SocketAddress?) -> Bool {
        guard let host = address?.ipAddress?.lowercased() else { return true }
        return host.hasPrefix("127.") || host == "::1" || host.hasPrefix("fe80:") || host.hasPrefix("169.254.")
    }

    // MARK: The others

    /// What the devices have told of themselves.
    func learn(_ known: [DeviceID: [String]]) {
        guard known != addresses else { return }
        addresses = known
        do { try AtomicFile.write(known, to: path) } catch { logger.warning("\(error.message)") }
    }

    /// Of DNS-SD.
    private static let serviceType = "_vmsync._tcp"

    /// Tells the local network that this device is here, and hears of others, until the task is cancelled.
    func followNetwork() async {
        await listening.wait()
        guard let place else { return }
        let directory = ServiceDirectory(
            Self.serviceType, name: account.keys.id.rawValue,
            port: Self.allCards.contains(place.host) ? UInt16(exactly: place.port) : nil, logger: logger)
        async let running: Void = directory.run()
        for await services in directory.found { hear(services) }
        await running
    }

    /// Anybody may say anything there; who it is shows when he is called.
    private func hear(_ services: Set<LocalService>) {
        let me = account.keys.id
        let known = services.compactMap { service -> (DeviceID, String)? in
            guard let id = DeviceID(rawValue: service.name), id != me, account.roster.members[id] != nil,
                let address = try? SocketAddress(ipAddress: service.address, port: Int(service.port)),
                !Self.isOfThisHost(address)
            else { return nil }
            return (id, Self.text(service.address, Int(service.port)))
        }
        nearby = Dictionary(grouping: known) { $0.0 }
            .mapValues { Array($0.map(\.1).sorted().prefix(DeviceProfile.addressesMax)) }
    }

    func nearbyAddresses(of device: DeviceID) -> [String] { nearby[device] ?? [] }

    /// The device, if it answers at one of its addresses.
    /// - Parameter vm: that it is asked about.
    func peer(_ device: DeviceID, for vm: VMID) async -> (peer: Peer, standing: DirectStanding)? {
        let places = Set((nearby[device] ?? []) + (addresses[device] ?? []))
        guard !places.isEmpty, let http = client(of: device) else { return nil }
        return await withTaskGroup(of: (Peer, DirectStanding)?.self) { [logger] group in
            for place in places {
                group.addTask {
                    let client = SyncClient(servers: ServerRing(["https://\(place)"]), httpClient: http)
                    do {
                        return (Peer(device: device, client: client), try await client.directStanding(of: vm))
                    } catch {
                        logger.debug("no direct link to \(place): \(VMSyncError(error).message)")
                        return nil
                    }
                }
            }
            for await found in group {
                guard let found else { continue }
                group.cancelAll()
                return found
            }
            return nil
        }
    }

    private func client(of device: DeviceID) -> HTTPClient? {
        if let client = clients[device] { return client }
        guard let identity = account.roster.members[device] else { return nil }
        do {
            let client = try SyncClient.makeHTTPClient(
                account.keys, server: Array(identity.certificate), connect: SyncClient.directConnect)
            clients[device] = client
            return client
        } catch {
            logger.warning("\(VMSyncError(error).message)")
            return nil
        }
    }

    func close() async {
        for client in clients.values { try? await client.shutdown() }
        clients = [:]
    }
}
