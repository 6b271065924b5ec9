import Logging

/// Tells the local network of a service of this host, and hears who else offers one of its type: DNS-SD (RFC 6763) by Avahi,
/// while that runs. Without it nobody is told and nobody found.
package actor ServiceDirectory {
    /// All that are there, whenever that changes; one reader. It ends with `run`.
    package nonisolated let found: AsyncStream<Set<LocalService>>
    private nonisolated let continuation: AsyncStream<Set<LocalService>>.Continuation
    private let type: String
    private let name: String
    private let port: UInt16?
    private let address: String
    private let logger: Logger
    private var bus: BusClient?
    /// Who Avahi is on the bus, while it runs.
    private var owner: String?
    private var items: [Avahi.Item: LocalService?] = [:]

    /// More than a home has; whoever floods the network is not listened to further.
    private static let itemsMax = 256
    private static let nameOwnerChanged = "NameOwnerChanged"

    /// - Parameters:
    ///   - type: such as `_vmsync._tcp`.
    ///   - name: of the own service, at most 63 bytes.
    ///   - port: where it listens; nil if the network isn't told of it.
    package init(
        _ type: String, name: String, port: UInt16?, busAddress: String = BusClient.systemAddress, logger: Logger
    ) {
        (found, continuation) = AsyncStream.makeStream(
            of: Set<LocalService>.self, bufferingPolicy: .bufferingNewest(1))
        self.type = type
        self.name = name
        self.port = port
        address = busAddress
        self.logger = logger
    }

    /// Tells and listens until its task is cancelled. Then nobody is told any more.
    package func run() async {
        let bus = BusClient(
            address: address,
            matches: Avahi.matches + [
                "type='signal',sender='\(BusTarget.bus.service)',member='\(Self.nameOwnerChanged)',arg0='\(Avahi.service)'"
            ])
        self.bus = bus
        await withTaskCancellationHandler {
            for await news in bus.news { await handle(news) }
        } onCancel: {
            bus.stopSoon()
        }
        await bus.stop()
        continuation.finish()
    }

    private func handle(_ news: BusNews) async {
        switch news {
        case .connected:
            let owner = try? await bus?.call("GetNameOwner", of: .bus, [Avahi.service]).string()
            await note(owner: owner)
        case .lost(let reason):
            logger.debug("no bus", metadata: ["reason": "\(reason)"])
            await note(owner: nil)
        case .signal(let signal):
            do throws(BusError) { try await handle(signal) } catch {
                logger.warning("a signal of another form", metadata: ["member": "\(signal.member)"])
            }
        }
    }

    private func handle(_ signal: BusSignal) async throws(BusError) {
        // Only the bus itself can send under this name.
        if signal.sender == BusTarget.bus.service {
            guard signal.member == Self.nameOwnerChanged, try signal.values.string(0) == Avahi.service else { return }
            let owner = try signal.values.string(2)
            return await note(owner: owner.isEmpty ? nil : owner)
        }
        guard signal.sender == owner, signal.interface == Avahi.browserInterface else { return }
        switch signal.member {
        case "ItemNew": try note(Avahi.Item(signal))
        case "ItemRemove":
            if let gone = items.removeValue(forKey: try Avahi.Item(signal)), gone != nil { tell() }
        default: return
        }
    }

    /// Whoever begins to be Avahi knows nothing of what was asked before.
    private func note(owner: String?) async {
        guard owner != self.owner else { return }
        self.owner = owner
        items = [:]
        tell()
        guard owner != nil, let bus else { return }
        let avahi = Avahi(bus: bus)
        do throws(BusError) {
            if let port { try await avahi.publish(name, type, at: port) }
            try await avahi.browse(type)
            logger.debug("the local network is told", metadata: ["name": "\(name)"])
        } catch {
            logger.warning("the local network isn't told: \(error)")
        }
    }

    private func note(_ item: Avahi.Item) {
        guard item.type == type, items[item] == nil, items.count < Self.itemsMax, let bus else { return }
        items[item] = .some(nil)
        // It may take seconds, and more may come meanwhile.
        Task {
            let service: LocalService
            do throws(BusError) { service = try await Avahi(bus: bus).resolve(item) } catch {
                logger.debug("\(item.name) doesn't say where it is: \(error)")
                return
            }
            guard items[item] != nil else { return }
            items[item] = service
            tell()
        }
    }

    private func tell() { continuation.yield(Set(items.values.compactMap(\.self))) }
}
