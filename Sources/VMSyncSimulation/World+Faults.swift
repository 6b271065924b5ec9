import VMSyncPolicy

/// What goes wrong by itself, at times of its own.
extension World {
    /// Milliseconds that a device reaches nobody, or not all: moments, and longer than a switch may stay open.
    private static let partitions = [1...500, 500...5000, 5000...80_000]
    private static let fullness = 1000...20_000
    /// Seconds by which a server's clock jumps, either way.
    private static let serverJumpMax = 90
    private static let deviceJumpMax = 20

    /// One fault of a kind that this history has.
    mutating func makeFault() {
        guard !ending.isCalm else { return }
        // Most of what may go wrong does so where the VM runs.
        let device = random.half() ? runningDevice ?? 0 : random.below(devices.count)
        if let kind = settings.someOwnFault(&random), make(kind, device: device) {
            faults.note(kind)
        }
        queue.plan(.fault, at: now + 1 + random.below(settings.faultGap))
    }

    /// - Returns: whether it is one that happens by itself, and could happen now.
    private mutating func make(_ kind: FaultKind, device: Int) -> Bool {
        switch kind {
        case .daemonKilled:
            guard devices[device].isDaemonUp else { return false }
            killDaemon(device)
        case .machineCrashed:
            guard devices[device].qemu != .none else { return false }
            note("device \(device): QEMU dies")
            crashMachine(device)
        case .powerLost:
            guard devices[device].isHostUp else { return false }
            losePower(device)
        case .partitioned: return partition(device)
        case .networkChanged: changeNetwork(device)
        case .diskFull:
            devices[device].disk.isFull = true
            queue.plan(.freeDisk(device), at: now + random.within(Self.fullness))
        case .deviceClockJumped:
            devices[device].clockOffset += random.within(-Self.deviceJumpMax...Self.deviceJumpMax) * 1000
        case .serverStopped:
            guard server.isUp else { return false }
            stopServer()
        case .serverClockJumped:
            server.clockOffset += random.within(-Self.serverJumpMax...Self.serverJumpMax) * 1000
        case .serverFull:
            server.isFull = true
            queue.plan(.freeServer, at: now + random.within(Self.fullness))
        case .forced: return force(device)
        case .failedOver: return failOver(device)
        default: return false
        }
        return true
    }

    private mutating func partition(_ device: Int) -> Bool {
        guard !devices[device].isCutFromServer, !devices[device].isCutFromOthers else { return false }
        // The line out of the house, the house's own, or both.
        let kind = random.below(3)
        devices[device].isCutFromServer = kind != 0
        devices[device].isCutFromOthers = kind != 1
        note("device \(device) reaches \(["no other device", "no server", "nobody"][kind])")
        if devices[device].isCutFromServer { disconnect(device) }
        let length = Self.partitions[random.below(Self.partitions.count)]
        queue.plan(.heal(device), at: now + random.within(length))
        return true
    }

    mutating func heal(_ device: Int) {
        devices[device].isCutFromServer = false
        devices[device].isCutFromOthers = false
    }

    private mutating func changeNetwork(_ device: Int) {
        devices[device].delay = [2, 20, 150, 700][random.below(4)]
        disconnect(device)
    }

    /// The person takes the VM to `device` though another has it.
    private mutating func force(_ device: Int) -> Bool {
        guard let holder = server.holderIndex(), holder != device, devices[device].isDaemonUp,
            devices[device].daemon.machineState != .running
        else { return false }
        request(.start(force: true), of: device)
        return true
    }

    /// The server has told `device` that the holder is silent, and the device is at the head: it takes over, as if by
    /// force.
    private mutating func failOver(_ device: Int) -> Bool {
        if server.isUp { publish() }
        let daemon = devices[device].daemon
        guard let silent = daemon.silent, silent != device, devices[device].isConnected,
            daemon.machineState == .waiting, devices[device].disk.replica == daemon.record?.head
        else { return false }
        return force(device)
    }
}
