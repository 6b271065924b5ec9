import Logging

/// Watches the host: what it lives on, how busy it is, how it is connected, and when it sleeps.
///
/// `run` must be running: before and after it, what only the bus says is unknown.
package actor HostWatch {
    /// For a level that is watched: a battery lasts hours, so half a minute is less than a percent of it. The kernel
    /// doesn't announce a level, and firmware may be slow to read.
    package static let powerInterval = Duration.seconds(30)
    /// As NetworkManager announces what it changes, and the routes are compared at each tick, this is for the rest:
    /// what a link below a tunnel costs.
    package static let networkInterval = Duration.seconds(30)
    /// Reads two clocks and the routes, some microseconds; who wakes is back at work within this time.
    package static let tick = Duration.seconds(5)
    /// Between two looks at something that has just changed.
    package static let unsettledTick = Duration.seconds(1)
    /// A plug that is pushed in, or a charger that is agreeing on a voltage, changes many times.
    package static let powerQuiet = Duration.seconds(5)
    /// A connection that comes up is unknown, without a place, then known.
    package static let networkQuiet = Duration.seconds(2)
    /// Nobody leaves more than a few events untaken for long.
    private static let eventsKept = 64

    /// One reader. The first `.changed` comes when everything has been read once. Ends with `run`; of more than 64 that
    /// nobody has taken the oldest are dropped.
    package nonisolated let events: AsyncStream<HostEvent>
    let continuation: AsyncStream<HostEvent>.Continuation
    /// Wakes the look before its time.
    private let (hints, hint) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    private let paths: HostPaths
    private let busAddress: String
    private let clocks: @Sendable () -> HostClocks
    let inhibitor: Inhibitor
    let logger: Logger

    private(set) var bus: BusClient?
    /// Who has which name on the bus.
    var owners: [String: String] = [:]
    private var meter = LoadMeter()
    private var meteredHold = MeteredHold()
    private var powerChange = Settling<Reading<PowerTold>>(quiet: powerQuiet)
    private var networkChange = Settling<HostNetwork>(quiet: networkQuiet)
    /// When these were looked at last, by the clock that counts sleep; nil for: at the next look.
    private var powerLooked: Duration?
    private var networkLooked: Duration?
    private var routes: RouteTable?
    private var isGatewaySilent = false
    var sleep: SleepWatch
    /// Delays sleep and shutdown while it is open.
    var lock: OwnedDescriptor?
    var isTakingLock = false
    /// How long logind waits for us, or why it doesn't.
    var sleepDelay: Reading<Duration> = .unknown("the bus isn't listened to yet")
    /// The one that was handed out last, which may get a lock that comes late.
    weak var handedOut: SleepDelay?

    /// What a change of the power is told of.
    private struct PowerTold: Sendable, Equatable {
        let source: HostPower.Source
        let percent: Int?
    }

    /// - Parameters:
    ///   - inhibitor: under which name sleep is delayed.
    ///   - paths: of the kernel's files.
    ///   - busAddress: of the bus of the system; nil for where it is.
    ///   - clocks: that show how long the host slept.
    package init(
        inhibitor: Inhibitor, paths: HostPaths = .system, busAddress: String? = nil,
        clocks: @escaping @Sendable () -> HostClocks = HostClocks.now, logger: Logger
    ) {
        (events, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(Self.eventsKept))
        self.inhibitor = inhibitor
        self.paths = paths
        self.busAddress = busAddress ?? BusClient.systemAddress
        self.clocks = clocks
        self.logger = logger
        sleep = SleepWatch(clocks())
    }

    /// Reads everything now: milliseconds, unless a service on the bus doesn't answer.
    package func current() async -> HostSignals {
        async let power = readPower()
        async let network = readNetwork()
        let load = readLoad()
        return await HostSignals(power: power, load: load, network: network, sleepDelay: sleepDelay)
    }

    /// Watches until its task is cancelled. To be called once.
    package func run() async {
        let bus = BusClient(address: busAddress, matches: Logind.matches + NetworkManager.matches + Self.matches)
        self.bus = bus
        await withTaskCancellationHandler {
            await withDiscardingTaskGroup { group in
                group.addTask { for await news in bus.news { await self.handle(news) } }
                group.addTask { await self.giveTicks() }
                group.addTask { await self.lookAtHints() }
            }
        } onCancel: {
            bus.stopSoon()
        }
        await bus.stop()
        self.bus = nil
        lock = nil
        continuation.finish()
    }

    var now: HostClocks { clocks() }

    // MARK: Reading

    private func readPower() async -> Reading<HostPower> {
        await Blocking.run { [paths] in PowerSupplies.read(root: paths.sys) }
    }

    /// Reads the kernel's memory, no device: this doesn't block.
    private func readLoad() -> Reading<HostLoad> { meter.read(root: paths.proc, at: now.awake) }

    private func readNetwork() async -> HostNetwork {
        let reader = NetworkReader(paths: paths, manager: bus.map { NetworkManager(bus: $0) })
        let result = await reader.read()
        if let gateway = result.silentGateway {
            GatewayProbe.send(to: gateway.address, interface: gateway.interface)
            // It has answered by the next tick; one that hasn't is asked again with the next regular look.
            if !isGatewaySilent { networkLooked = nil }
        }
        isGatewaySilent = result.silentGateway != nil
        let network = result.network
        return HostNetwork(
            interface: network.interface,
            metered: meteredHold.note(network.metered, of: result.connection, at: now.all), place: network.place)
    }

    // MARK: Looking

    private func giveTicks() async {
        while !Task.isCancelled {
            hint.yield()
            try? await Task.sleep(for: Self.tick)
        }
    }

    private func lookAtHints() async {
        await look()
        continuation.yield(.changed)
        for await _ in hints {
            await look()
            while powerChange.isUnsettled || networkChange.isUnsettled, !Task.isCancelled {
                try? await Task.sleep(for: Self.unsettledTick)
                await look()
            }
        }
    }

    private func look() async {
        noteClocks()
        await takeMissingLock()
        // So that the load that is told is that of the last seconds, whenever it is asked for.
        _ = readLoad()
        if powerChange.isUnsettled || isDue(powerLooked, Self.powerInterval) {
            powerLooked = now.all
            let power = await readPower().map { PowerTold(source: $0.source, percent: $0.percent) }
            if powerChange.note(power, at: now.all) { continuation.yield(.changed) }
        }
        if networkChange.isUnsettled || haveRoutesChanged() || isDue(networkLooked, Self.networkInterval) {
            networkLooked = now.all
            if networkChange.note(await readNetwork(), at: now.all) { continuation.yield(.changed) }
        }
    }

    private func isDue(_ last: Duration?, _ interval: Duration) -> Bool {
        last.map { now.all - $0 >= interval } ?? true
    }

    /// Reads the kernel's memory, no device: this doesn't block.
    private func haveRoutesChanged() -> Bool {
        let read = (try? NetworkReader(paths: paths, manager: nil).tables())?.routes
        defer { routes = read }
        return read != routes
    }

    /// Has everything looked at soon.
    func lookSoon() {
        (powerLooked, networkLooked) = (nil, nil)
        hint.yield()
    }
}
