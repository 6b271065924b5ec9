import VMSyncCore
import VMSyncPolicy

/// A daemon that comes up, and what ends it. (`VMHost+Open.swift`, `Replica.recover`)
extension World {
    /// Milliseconds until a daemon that died runs again.
    private static let restart = 100...5000

    mutating func startDaemon(_ device: Int) {
        guard devices[device].isHostUp, !devices[device].isDaemonUp else { return }
        devices[device].isDaemonUp = true
        devices[device].daemon = Daemon()
        devices[device].question += 1
        note("device \(device): the daemon starts")
        disconnect(device)
        wake(device)
    }

    mutating func killDaemon(_ device: Int) {
        guard devices[device].isDaemonUp else { return }
        note("device \(device): the daemon dies")
        makeWork(device)
        devices[device].isDaemonUp = false
        devices[device].turnTime = .max
        devices[device].turn += 1
        devices[device].question += 1
        devices[device].writesLeft = .max
        disconnect(device)
        queue.plan(.startDaemon(device), at: now + random.within(Self.restart))
    }

    /// Looks at what an earlier daemon left here. Without the base images there is nothing yet.
    mutating func open(_ device: Int) throws(Stop) {
        guard devices[device].disk.hasBase else { return }
        try recover(device)
        // Of one that isn't answered it isn't known yet whose it is.
        if let grant = devices[device].disk.handovers.last,
            grant.to == devices[device].name || devices[device].disk.tenure == nil
        {
            shareOutbox(device, grant)
        }
        try adopt(device)
        devices[device].daemon.isAdopted = true
        if let number = devices[device].disk.record.applying, devices[device].disk.inbox == number {
            try applyInbox(device, number)
        }
    }

    private mutating func recover(_ device: Int) throws(Stop) {
        if devices[device].disk.record.isBeingReset {
            return try reset(device, keepsOutbox: devices[device].disk.record.outboxEnd != nil)
        }
        try finishSealing(device)
        tidyOutbox(device)
        let disk = devices[device].disk
        guard disk.record.applying == nil, !disk.record.isDamaged, let number = checkpointHeld(device) else { return }
        if devices[device].tables != sealed[Int(number)].pack.digest { markDamaged(device) }
    }

    /// The number of the checkpoint that the record names; nil at the base.
    private func checkpointHeld(_ device: Int) -> Int32? {
        let sequence = devices[device].disk.record.sequence
        if let waiting = devices[device].disk.outbox.last(where: { $0.sequence == sequence }) {
            return waiting.number
        }
        return server.committed(at: sequence)?.checkpoint
    }

    /// Takes over a QEMU, by what the tenure says of it.
    private mutating func adopt(_ device: Int) throws(Stop) {
        let adoption = Adoption(
            tenure: devices[device].disk.tenure, found: devices[device].foundMachine,
            replica: devices[device].disk.record.sequence)
        note("device \(device) adopts: \(adoption)")
        switch adoption {
        case .nothing: break
        case .end: endMachine(device)
        case .endAndForget:
            devices[device].qemu = .none
            try saveTenure(device, nil)
        case .standStill:
            if devices[device].qemu == .running { devices[device].qemu = .saved }
            devices[device].daemon.isDiverged = true
            devices[device].daemon.machineState = .held
        case .letRun: try resume(device)
        case .hold: devices[device].daemon.machineState = .held
        case .shutDown:
            devices[device].daemon.guestShutDown = true
            devices[device].daemon.machineState = .shutDown
        case .lost:
            devices[device].daemon.machineState = .died
            markLost(device)
            // What was sent under this epoch is not known here any more: nothing else may be sent under it.
            if devices[device].disk.outbox.isEmpty, let tenure = devices[device].disk.tenure, tenure.hasSent ?? false {
                devices[device].disk.released = max(devices[device].disk.released, tenure.epoch)
            }
        }
    }

    /// QEMU ended though nobody asked it to. (`VMHost.machineDidEnd`)
    mutating func crashMachine(_ device: Int) {
        makeWork(device)
        oweWhatIsSealed(device)
        devices[device].qemu = .none
        guard devices[device].isDaemonUp, devices[device].daemon.isAdopted else { return }
        switch devices[device].daemon.machineState {
        case .running, .held:
            devices[device].daemon.machineState = devices[device].daemon.guestShutDown ? .shutDown : .died
            if devices[device].daemon.machineState == .died { markLost(device) }
        case .waiting: devices[device].daemon.machineState = .none
        case .none, .died, .shutDown: break
        }
        wake(device)
    }

    /// What a guest did after its last checkpoint is lost with its QEMU; what is sealed is not.
    private mutating func oweWhatIsSealed(_ device: Int) {
        let disk = devices[device].disk
        // What was received and never applied is with the device that has sealed it.
        let newest = disk.outbox.last { !$0.isReceived || $0.sequence <= disk.record.sequence }
        guard let newest else { return }
        ledger.owed.append(.init(device: device, work: newest.work))
    }

    // MARK: Power

    /// The host stops at once. Memory is gone, and what was not synced.
    mutating func losePower(_ device: Int) {
        guard devices[device].isHostUp else { return }
        note("device \(device) loses its power")
        killDaemon(device)
        devices[device].isHostUp = false
        // A guest that has shut down has flushed its disk before.
        let isDirty = devices[device].qemu == .running || devices[device].qemu == .saved
        devices[device].qemu = .none
        ledger.owed.removeAll { $0.device == device }
        loseTenure(device)
        // Only a VM that is shut off is kept: its record and its disks are synced.
        let record = devices[device].disk.record
        if record.kind == .off, record.sequence > .base, record.applying == nil, !record.isDamaged {
            loseUnsynced(device, isDirty: isDirty)
        } else {
            keepWholeOutbox(device)
            devices[device].ram = .zero
            devices[device].tables = .zero
            devices[device].work = WorkTree.base
        }
        queue.plan(.startHost(device), at: now + random.within(2000...20_000))
    }

    /// Of what waits as much counts as is whole, beginning with the oldest. (`Replica.keepOutboxOverReboot`)
    private mutating func keepWholeOutbox(_ device: Int) {
        var kept: [DeviceDisk.Waiting] = []
        for var waiting in OutboxOrder.waiting(devices[device].disk.outbox) {
            guard waiting.isSynced || random.half() else { break }
            waiting.isOfEarlierBoot = true
            kept.append(waiting)
        }
        devices[device].disk.outbox = kept
        devices[device].disk.record = .init(isDamaged: true, isBeingReset: true, outboxEnd: kept.last?.sequence)
        // What was received, and not given, is with the device that has sealed it.
        if let newest = kept.last(where: { !$0.isReceived }) {
            ledger.owed.append(.init(device: device, work: newest.work))
        }
    }

    /// Milliseconds after which a file is on the disk though nobody synced it.
    private static let writtenBack = 5000

    /// The note of a tenure isn't synced: that of a guest that has just begun may be lost.
    private mutating func loseTenure(_ device: Int) {
        guard now - devices[device].disk.tenureWritten < Self.writtenBack, random.half() else { return }
        devices[device].disk.tenure = devices[device].disk.tenureBefore
    }

    /// Of a disk that a guest wrote to since, parts are there.
    private mutating func loseUnsynced(_ device: Int, isDirty: Bool) {
        devices[device].ram = devices[device].ram.diskOnly
        if isDirty {
            devices[device].ram.replace(with: devices[device].tables, where: Self.someLanes(&random))
        }
        devices[device].disk.outbox.removeAll { !$0.isSynced && random.half() }
    }

    private static func someLanes(_ random: inout SeededRandom) -> SIMDMask<SIMD8<Int32>> {
        var lanes = Registers.memoryLanes
        for lane in 0..<Registers.scalarCount where random.half() { lanes[lane] = true }
        return lanes
    }

    mutating func startHost(_ device: Int) {
        guard !devices[device].isHostUp else { return }
        devices[device].isHostUp = true
        startDaemon(device)
    }
}

extension SimulatedDevice {
    var foundMachine: FoundMachine? {
        switch qemu {
        case .none: nil
        case .waiting: .waiting
        case .running: .running
        case .saved: .saved
        case .shutDown: .shutDown
        }
    }
}
