import VMSyncCore
import VMSyncPolicy

/// How a history ends: everything is mended, and then the VM must be of use again.
struct Ending {
    enum Stage: String {
        case unquiet
        /// All devices come to rest.
        case settling
        /// A person starts the VM where it can be.
        case starting
        /// A person moves it to another device.
        case switching
        /// A person puts it away; all devices reach the head.
        case suspending
        case over
    }

    var stage = Stage.unquiet
    /// How often the world was looked at since the stage began.
    var looks = 0
    var target = 0
    var isCalm: Bool { stage != .unquiet }
    var isReached: Bool { stage == .over }
}

extension World {
    /// Milliseconds between two looks.
    private static let look = 500
    private static let calmInterval = 2000
    /// So many looks at one stage at most. A switch that nobody carries out bars others for a minute, which is 120.
    private static let looksMax = 500
    /// Every so many looks the person asks again.
    private static let patience = 20

    /// Everything is mended, and nothing goes wrong any more.
    mutating func calmDown() {
        note("calm")
        settings.calmDown()
        settings.interval = max(settings.interval, Self.calmInterval)
        server.isFull = false
        if !server.isUp { startServer() }
        for device in devices.indices {
            heal(device)
            devices[device].disk.isFull = false
            devices[device].delay = min(devices[device].delay, 50)
            startHost(device)
            startDaemon(device)
        }
        enter(.settling)
        queue.plan(.watch, at: now + Self.look)
    }

    private mutating func enter(_ stage: Ending.Stage) {
        note("ending: \(stage)")
        ending.stage = stage
        ending.looks = 0
    }

    mutating func watch() throws(Violation) {
        ending.looks += 1
        guard ending.looks < Self.looksMax else { throw notConverging() }
        switch ending.stage {
        case .unquiet, .over: break
        case .settling: if isSettled { enter(.starting) }
        case .starting: startCalmly()
        case .switching: switchCalmly()
        case .suspending: try suspendCalmly()
        }
        queue.plan(.watch, at: now + Self.look)
    }

    private var asksNow: Bool { ending.looks % Self.patience == 1 }

    private var isSettled: Bool {
        ledger.owed.allSatisfy { isShared(devices[$0.device]) }
            && devices.allSatisfy {
                $0.isDaemonUp && ($0.daemon.isAdopted || !$0.disk.hasBase) && $0.isConnected && !$0.daemon.isDiverged
                    && ($0.disk.waiting.isEmpty || isShared($0)) && $0.disk.tenure?.departure == nil
            }
    }

    /// It waits for the holder, whose VM may be off, to save what both have or to go another way.
    private func isShared(_ device: SimulatedDevice) -> Bool {
        guard ending.stage == .settling, let oldest = device.disk.waiting.first, let holder = server.lease.holder else {
            return false
        }
        return holder != device.name && oldest.epoch.leads(to: server.lease.epoch) && oldest.sequence > server.head
    }

    private mutating func startCalmly() {
        if let running = runningDevice, server.holderIndex() == running {
            ending.target = (running + 1) % devices.count
            return enter(.switching)
        }
        guard asksNow else { return }
        let device = server.holderIndex() ?? random.below(devices.count)
        // The second time with force, as the refusal says.
        request(.start(force: ending.looks > Self.patience), of: device)
    }

    private mutating func switchCalmly() {
        if devices[ending.target].qemu == .running, server.holderIndex() == ending.target { return enter(.suspending) }
        guard asksNow else { return }
        // What was asked for before the calm may be done, or reach the server, only now.
        if ending.looks > 1, runningDevice == nil { return enter(.starting) }
        askForSwitch(to: ending.target, isCold: false)
    }

    private mutating func suspendCalmly() throws(Violation) {
        if server.lease.holder == nil, isSettled,
            devices.allSatisfy({ $0.disk.replica == server.head && !$0.qemu.hasGuest })
        {
            try checkAllAcknowledged()
            return enter(.over)
        }
        guard asksNow else { return }
        // A request that was long on its way may have given the lease to a device that doesn't run the VM.
        guard let running = runningDevice else { return enter(.starting) }
        request(.suspend, of: running)
    }

    private func notConverging() -> Violation {
        let states = devices.map { device in
            "\(device.index): \(device.daemon.machineState) at \(device.disk.record.sequence)"
                + (device.disk.record.isDamaged ? " (damaged)" : "")
                + (device.disk.waiting.isEmpty ? "" : ", waiting \(device.disk.waiting.map(\.sequence))")
                + (device.daemon.problem.map { ", \($0)" } ?? "")
        }
        return Violation(
            invariant: .converges,
            detail: "still \(ending.stage) with head \(server.head), held by \(server.holderIndex() ?? -1); "
                + states.joined(separator: "; "))
    }
}
