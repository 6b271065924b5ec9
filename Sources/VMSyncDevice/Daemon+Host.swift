import HostSignals
import VMSyncCore
import VMSyncPolicy

/// What the host says of itself, for the decisions about its VMs; and what is done before it sleeps.
extension Daemon {
    /// How often the load is looked at, and traffic is saved.
    private static let hostInterval = Duration.seconds(10)
    /// Before the host stops waiting for us, whatever is left to do.
    private static let sleepMargin = Duration.seconds(1)

    /// Follows the host until the task is cancelled.
    func followHost() async {
        let watch = HostWatch(
            inhibitor: Inhibitor(who: "vmsync", why: "saving the running VMs"), paths: .ofProcess, logger: logger)
        await withDiscardingTaskGroup { group in
            group.addTask { await watch.run() }
            group.addTask {
                for await event in watch.events { await self.handle(event, watch) }
            }
            group.addTask {
                while !Task.isCancelled {
                    try? await Task.sleep(for: Self.hostInterval)
                    await self.read(watch)
                }
            }
        }
    }

    private func handle(_ event: HostEvent, _ watch: HostWatch) async {
        switch event {
        case .changed: await read(watch)
        case .willSleep(let delay): await saveAll(.hostSleeping, delay)
        case .willShutDown(let delay): await saveAll(.hostShuttingDown, delay)
        case .woke(let slept):
            logger.notice("the host woke up", metadata: ["slept": "\(slept)"])
            for host in hosts.values { await host.hostWoke(after: slept) }
        case .shutdownCancelled: break
        }
    }

    private func read(_ watch: HostWatch) async {
        let before = environment.conditions.host
        let signals = await watch.current()
        var busy = before.busy
        if let load = signals.load.value { busy.note(load.share) }
        let now = HostConditions(signals, busy)
        let isNews = environment.conditions.update(now)
        environment.conditions.saveTraffic()
        let occasions = now.occasions(after: before)
        for host in hosts.values {
            for occasion in occasions { await host.note(occasion) }
            if isNews { host.wake.signal() }
        }
        // Its addresses may have changed with it.
        if isNews { profileChanged.signal() }
    }

    /// Has every running VM make a checkpoint that stays here, and lets the host go on when all have, or the time is up. The
    /// network may be gone already: what is kept here is sent when it is back.
    private func saveAll(_ occasion: Occasion, _ delay: SleepDelay) async {
        logger.notice("saving the running VMs", metadata: ["because": "\(occasion.words)"])
        let hosts = Array(hosts.values)
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                // One that has to wait for something doesn't keep the others.
                await withDiscardingTaskGroup { each in
                    for host in hosts { each.addTask { await host.keepNow() } }
                }
                return true
            }
            group.addTask {
                try? await Task.sleep(for: max(delay.timeLeft - Self.sleepMargin, .zero))
                return false
            }
            if await group.next() == false { self.logger.error("not every VM was saved in time") }
            group.cancelAll()
        }
        environment.conditions.saveTraffic()
        delay.release()
    }
}

extension HostConditions {
    fileprivate init(_ signals: HostSignals, _ busy: BusyWatch) {
        self.init()
        self.busy = busy
        isMetered = signals.network.metered.value?.isMetered ?? false
        if let known = signals.network.place.value { place = [known.id, known.name].compactMap(\.self) }
        hasNetwork = signals.network.interface.value != nil
        if let known = signals.power.value, known.source == .battery { power = .battery(level: known.level) }
    }
}

extension HostPaths {
    /// Those of the system, or below the folder that the environment names, for trials.
    fileprivate static var ofProcess: HostPaths {
        guard let root = DeviceFolders.hostRoot else { return .system }
        return HostPaths(sys: root + "/sys", proc: root + "/proc", net: root + "/proc/net")
    }
}
