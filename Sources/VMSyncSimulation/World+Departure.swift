import VMSyncCore
import VMSyncPolicy

/// The last checkpoint of a tenure, and finding out what became of it. (`VMHost+Active.swift`)
extension World {
    /// Notes the departure, stops the guest, seals, and sends the commit that frees or moves the lease.
    mutating func depart(_ device: Int, then: AfterCommit) throws(Stop) {
        try noteDeparture(device, then: then, isOff: false)
        do throws(Stop) {
            guard devices[device].qemu == .running else { throw .failed(.machine) }
            try write(device)
            if goesWrong(.captureFailed) { throw .failed(.machine) }
            devices[device].qemu = .saved
            devices[device].daemon.machineState = .held
            try write(device)
            _ = try seal(device, .live)
        } catch {
            guard case .failed(let failure) = error else { throw error }
            // Nothing was sent: the lease is ours as before.
            try saveTenure(device, devices[device].disk.tenure?.departing(nil))
            if devices[device].daemon.machineState == .held, devices[device].qemu == .saved { try resume(device) }
            return try failSwitch(device, then, failure)
        }
        try sendLast(device, again: false)
    }

    /// Tells the server that the switch to which this departure belonged has failed, and then fails itself.
    private mutating func failSwitch(_ device: Int, _ then: AfterCommit, _ failure: Failure) throws(Stop) {
        guard case .move(let id) = then else { throw .failed(failure) }
        ask(device, .fail(Names.number(of: id)), then: .toldFailure(failure))
    }

    private mutating func noteDeparture(_ device: Int, then: AfterCommit, isOff: Bool) throws(Stop) {
        guard let tenure = devices[device].disk.tenure else { throw .failed(.other) }
        let sequence = devices[device].disk.record.sequence.next
        try saveTenure(device, tenure.departing(.init(sequence: sequence, then: then, isOff: isOff)))
    }

    /// Saves the disk of a guest that has shut itself down.
    mutating func sealOff(_ device: Int) throws(Stop) {
        let pending = devices[device].daemon.record?.pendingSwitch
        let then = pending.flatMap { $0.awaitsShutdown(on: devices[device].name) ? AfterCommit.move($0.id) : nil }
        try noteDeparture(device, then: then ?? .release, isOff: true)
        _ = try seal(device, .off)
        try sendLast(device, again: true)
    }

    /// Sends the last checkpoint under this tenure, and first what waits before it. (`VMHost.commitLast`)
    /// - Parameter again: whether a refusal is a failure, and not a reason to ask how things stand.
    mutating func sendLast(_ device: Int, again: Bool) throws(Stop) {
        guard devices[device].daemon.awaited == .nothing else { return }
        if try tellHandover(device) { return }
        guard let departure = devices[device].disk.tenure?.departure, let oldest = devices[device].disk.waiting.first,
            oldest.sequence <= departure.sequence
        else { return try departed(device) }
        let number = oldest.number
        if oldest.sequence == departure.sequence {
            sendCommit(device, number, then(of: departure), then: .lastSent(number, again: again))
        } else if oldest.sequence <= devices[device].daemon.record?.head ?? .base {
            try drop(device, oldest.sequence, inDeparture: true)
            try sendLast(device, again: again)
        } else {
            sendCommit(device, number, .keep, then: .earlierSent(number))
        }
    }

    private func then(of departure: Tenure.Departure) -> Then {
        guard case .move(let id) = departure.then else { return .release }
        return .move(Names.number(of: id))
    }

    /// Without an answer the guest stays stopped, and the server is asked again.
    mutating func lastFailed(_ device: Int, _ failure: Failure, again: Bool) throws(Stop) {
        if !again, failure != .unavailable { return try settleDeparture(device) }
        guard !again, let id = devices[device].disk.tenure?.departure?.switchID else { throw .failed(failure) }
        // If the lease has moved already, this is refused, and the record will say so.
        ask(device, .fail(Names.number(of: id)), then: .toldFailure(failure))
    }

    /// The lease is elsewhere: what is left here is a standby.
    mutating func departed(_ device: Int) throws(Stop) {
        discardMachine(device)
        try saveTenure(device, nil)
        ask(device, .record, then: .refreshed)
    }

    // MARK: Settling

    mutating func settleDeparture(_ device: Int) throws(Stop) {
        guard let departure = devices[device].disk.tenure?.departure else { return try goOnHere(device) }
        if departure.kind == .direct, let id = departure.switchID { return try settleHandover(device, id) }
        ask(device, .record, then: .settling)
    }

    /// With a record that is as new as can be.
    mutating func settle(_ device: Int) throws(Stop) {
        guard let tenure = devices[device].disk.tenure, let departure = tenure.departure,
            let record = devices[device].daemon.record
        else { return try goOnHere(device) }
        let isSealed = devices[device].disk.waiting.contains { $0.sequence == departure.sequence }
        let settlement = departure.settlement(
            holdsLease: record.holder == devices[device].name && record.epoch == tenure.epoch,
            lastSwitch: record.pendingSwitch, isSealed: isSealed, replica: devices[device].disk.record.sequence,
            hasGuest: devices[device].qemu.hasGuest,
            isShutDown: devices[device].daemon.machineState == .shutDown)
        note("device \(device) settles its departure: \(settlement)")
        switch settlement {
        case .stepBack: try departed(device)
        case .keepLateWork: try stepDown(device)
        case .commitAgain: try sendLast(device, again: true)
        case .sealOff: try sealOff(device)
        case .failThenGoOn(let id): ask(device, .fail(Names.number(of: id)), then: .settlingFailed)
        case .goOn: try goOnHere(device)
        }
    }

    /// The lease is this device's as before, and nothing can take it away by what was sent.
    mutating func goOnHere(_ device: Int) throws(Stop) {
        if let tenure = devices[device].disk.tenure { try saveTenure(device, tenure.departing(nil)) }
        devices[device].daemon.nextCheckpoint = clock(device)
        // It can't run on; what its disks hold is saved next.
        if devices[device].daemon.machineState == .shutDown { return }
        guard devices[device].qemu != .none else {
            // Paused since its last checkpoint was sealed, QEMU ended: the replica is whole.
            devices[device].daemon.machineState = .died
            return
        }
        try resume(device)
    }

    /// The guest runs on here.
    mutating func resume(_ device: Int) throws(Stop) {
        if devices[device].qemu == .shutDown { throw .failed(.machine) }
        devices[device].qemu = .running
        devices[device].workedUntil = now
        devices[device].daemon.machineState = .running
    }
}
