import VMSyncCore
import VMSyncPolicy

/// Following, and becoming active. (`VMHost+Standby.swift`)
extension World {
    mutating func rebuild(_ device: Int) throws(Stop) {
        discardMachine(device)
        try reset(device)
        try saveTenure(device, nil)
    }

    /// - Parameter number: the checkpoint of the pack that leads on; nil if no way leads on from here.
    mutating func takePack(_ device: Int, _ number: Int32?) throws(Stop) {
        guard let number else {
            discardMachine(device)
            return try reset(device)
        }
        if goesWrong(.packTorn) { throw .failed(.corrupt) }
        if devices[device].disk.isFull { throw .failed(.noSpace) }
        // A guest that runs here meanwhile keeps its replica.
        guard !devices[device].qemu.hasGuest else { return }
        try write(device)
        devices[device].disk.inbox = number
        try applyInbox(device, number)
        let held = devices[device].disk.record.sequence
        note("device \(device) holds \(held)")
        if let pending = devices[device].daemon.record?.pendingSwitch, pending.to == devices[device].name,
            pending.state == .ready
        {
            ask(device, .ready(Names.number(of: pending.id), at: held), then: .followed)
        }
    }

    /// Only with a canary: a pack that comes too late is applied all the same.
    mutating func takeStrayPack(_ answer: Answer, to question: Int, _ device: Int) {
        guard devices[device].isDaemonUp, question != devices[device].question, case .checkpoint(let number?) = answer,
            !devices[device].qemu.hasGuest, devices[device].disk.waiting.isEmpty, devices[device].disk.tenure == nil,
            devices[device].disk.replica != nil
        else { return }
        try? applyInbox(device, number)
    }

    /// Starts a QEMU that waits for device state.
    mutating func prepare(_ device: Int) throws(Stop) {
        if goesWrong(.launchFailed) { throw .failed(.machine) }
        devices[device].qemu = .waiting
        devices[device].daemon.guestShutDown = false
        devices[device].daemon.machineState = .waiting
    }

    // MARK: Becoming active

    /// Order: the tenure is noted → device state is in QEMU → the guest runs → the server hears of it.
    mutating func goActive(_ device: Int) throws(Stop) {
        guard let record = devices[device].daemon.record else { return }
        do throws(Stop) {
            guard isHandedHere(device) || mayRun(device, under: record.epoch) else { throw .failed(.unauthorized) }
            try machineToActivate(device)
            let isForced = isForced(device, record.epoch)
            // The disks of a VM that was off outlive a power loss, so what says that they changed must do so too.
            let isOff = devices[device].disk.record.kind == .off
            try saveTenure(device, Tenure(epoch: record.epoch, isForced: isForced ? true : nil), isSynced: isOff)
            try write(device)
            try resume(device)
        } catch {
            guard case .failed(let failure) = error else { throw error }
            return try giveUpActivation(device, failure)
        }
        let held = devices[device].disk.record.sequence
        note("device \(device) runs the guest under epoch \(record.epoch) from \(held)")
        devices[device].daemon.nextCheckpoint = clock(device) + settings.interval
        if let pending = record.pendingSwitch, pending.isArriving(at: devices[device].name) {
            ask(device, .done(Names.number(of: pending.id)), then: .arrived)
        }
    }

    private mutating func machineToActivate(_ device: Int) throws(Stop) {
        if devices[device].disk.record.kind == .live, devices[device].daemon.machineState == .waiting { return }
        discardMachine(device)
        try prepare(device)
    }

    /// The guest has not run here: gives the lease back, so that the VM can be started where it was.
    private mutating func giveUpActivation(_ device: Int, _ failure: Failure) throws(Stop) {
        devices[device].qemu = .none
        devices[device].daemon.machineState = .none
        try saveTenure(device, nil)
        // Only here there is a whole state of it.
        if isHandedHere(device) { throw .failed(failure) }
        guard let pending = devices[device].daemon.record?.pendingSwitch, pending.isArriving(at: devices[device].name)
        else { return try releaseAfterGivingUp(device, failure) }
        ask(device, .fail(Names.number(of: pending.id)), then: .gaveUp(failure))
    }

    mutating func releaseAfterGivingUp(_ device: Int, _ failure: Failure) throws(Stop) {
        let epoch = devices[device].daemon.record?.epoch ?? Epoch(rawValue: 0)
        let word = try noteRelease(device)
        ask(device, .release(epoch: epoch.rawValue, word: word), then: .releasedAfterGivingUp(failure))
    }

    // MARK: The VM went on elsewhere

    /// The lease is elsewhere though the VM runs here. Its late work must not go on, and must not be lost.
    ///
    /// Order: noted → the guest stands still → what it did is sealed → QEMU ends → the tenure ends. What is sealed then
    /// waits in the outbox of a standby, which keeps it as a fork. Killed in between, the next daemon finds the note.
    mutating func stepDown(_ device: Int) throws(Stop) {
        devices[device].daemon.isDiverged = true
        devices[device].daemon.machineState = .held
        if let tenure = devices[device].disk.tenure, !(tenure.isDiverged ?? false) {
            try saveTenure(device, tenure.diverged)
        }
        if devices[device].qemu == .running { devices[device].qemu = .saved }
        try write(device)
        try sealLateWork(device)
        ledger.kept[device] += 1
        discardMachine(device)
        try write(device)
        try saveTenure(device, nil)
        devices[device].daemon.isDiverged = false
    }

    private mutating func sealLateWork(_ device: Int) throws(Stop) {
        // The disks of a guest that has shut down are here also without a QEMU.
        let isOff = devices[device].qemu == .shutDown || devices[device].daemon.guestShutDown
        guard devices[device].qemu.hasGuest || isOff, devices[device].disk.replica != nil else { return }
        try finishSealing(device)
        // Sealed before it stood still, or by a daemon that was killed here: nothing is new.
        guard devices[device].ram != devices[device].tables else { return }
        _ = try seal(device, isOff ? .off : .live)
    }
}
