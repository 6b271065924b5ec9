import VMSyncCore
import VMSyncPolicy

/// Being active: a guest that works, checkpoints, their upload, and the last one. (`VMHost+Active.swift`)
extension World {
    // MARK: The guest

    /// Milliseconds from one look at the guest's writes to the next.
    private static let writingPace = 30

    /// A running guest has written since it was looked at last.
    mutating func makeWork(_ device: Int) {
        guard devices[device].qemu == .running, devices[device].workedUntil + Self.writingPace < now else { return }
        devices[device].workedUntil = now
        for _ in 0...random.below(2) {
            let register = random.below(Registers.scalarCount)
            change(device) { state, number in state[register] = number }
        }
    }

    private mutating func change(_ device: Int, _ change: (inout Registers, UInt32) -> Void) {
        devices[device].work = works.write(after: devices[device].work, change)
        devices[device].ram = works.state(devices[device].work)
    }

    /// The guest shuts itself down, and its memory means nothing any more.
    mutating func shutDownGuest(_ device: Int) {
        guard devices[device].qemu == .running else { return }
        change(device) { state, _ in state = state.diskOnly }
        devices[device].qemu = .shutDown
        devices[device].daemon.guestShutDown = true
        let machineState = devices[device].daemon.machineState
        // Held, but running: QEMU was adopted in the middle of a departure.
        if machineState == .running || machineState == .held { devices[device].daemon.machineState = .shutDown }
    }

    /// QEMU is ended with the guest in it: what its disk holds is to be saved.
    mutating func pullPlug(_ device: Int) {
        shutDownGuest(device)
        devices[device].qemu = .none
    }

    /// The guest stops for good by what the daemon does. What it has done is owed from now on.
    mutating func endMachine(_ device: Int) {
        if devices[device].qemu.hasGuest, devices[device].ram != devices[device].tables {
            ledger.owed.append(.init(device: device, work: devices[device].work))
        }
        devices[device].qemu = .none
    }

    mutating func discardMachine(_ device: Int) {
        endMachine(device)
        devices[device].daemon.machineState = .none
    }

    // MARK: Checkpoints

    /// Milliseconds that a checkpoint and its merge take at most.
    private static let checkpointTime = 300

    mutating func sendCheckpoint(_ device: Int) throws(Stop) {
        let checkpoint = try makeCheckpoint(device)
        devices[device].daemon.roundBegan = now
        sendCommit(device, checkpoint.number, .keep, then: .uploaded(checkpoint.number))
    }

    /// The server is away, and what was made stays here: one with all that waits, but for the oldest.
    mutating func keepCheckpoint(_ device: Int) throws(Stop) {
        _ = try makeCheckpoint(device)
        do throws(Stop) { try settleOutbox(device) } catch {
            // No more checkpoints before the server has those that wait.
            guard case .failed = error else { throw error }
        }
        restFromCheckpoints(device, after: .milliseconds(random.below(Self.checkpointTime)))
    }

    private mutating func makeCheckpoint(_ device: Int) throws(Stop) -> SealedCheckpoint {
        devices[device].daemon.nextCheckpoint = clock(device) + settings.interval
        do throws(Stop) { return try capture(device, thenResume: true) } catch {
            noteRoundFailed(device)
            throw error
        }
    }

    /// Stops the guest, takes out of it what is new, and seals it. On failure the guest runs on.
    mutating func capture(_ device: Int, thenResume: Bool) throws(Stop) -> SealedCheckpoint {
        guard devices[device].qemu == .running else { throw .failed(.machine) }
        try write(device)
        if goesWrong(.captureFailed) { throw .failed(.machine) }
        devices[device].qemu = .saved
        try write(device)
        if thenResume { devices[device].qemu = .running } else { devices[device].daemon.machineState = .held }
        return try seal(device, .live)
    }

    private mutating func noteRoundFailed(_ device: Int) {
        devices[device].daemon.approach?.noteFailure()
        if !devices[device].disk.waiting.isEmpty { restFromCheckpoints(device, after: .zero) }
    }

    private mutating func restFromCheckpoints(_ device: Int, after took: Duration) {
        let rest = OutagePace.rest(after: took, interval: .milliseconds(settings.interval))
        devices[device].daemon.nextCheckpoint = clock(device) + rest.wholeMilliseconds
    }

    // MARK: Upload

    mutating func upload(_ device: Int) throws(Stop) {
        guard let oldest = devices[device].disk.waiting.first else {
            _ = try tellHandover(device)
            return
        }
        // The last one under a tenure decides what becomes of the lease too.
        if oldest.sequence == devices[device].disk.tenure?.departure?.sequence { return try settleDeparture(device) }
        devices[device].daemon.roundBegan = nil
        if try tellHandover(device) { return }
        try share(device)
        sendCommit(device, oldest.number, .keep, then: .uploaded(oldest.number))
    }

    /// Notes what is said of the checkpoint, so that the same is sent again, and sends it.
    mutating func sendCommit(
        _ device: Int, _ number: Int32, _ then: Then, then awaited: Awaited
    ) {
        if let place = devices[device].disk.outbox.firstIndex(where: { $0.number == number }) {
            devices[device].disk.outbox[place].isOffered = true
        }
        // From now on something may be on its way that only the note of the tenure tells of.
        if let tenure = devices[device].disk.tenure, !(tenure.hasSent ?? false) {
            devices[device].disk.tenure = tenure.sending
            devices[device].disk.tenureBefore = tenure.sending
        }
        ask(device, .commit(checkpoint: number, then: then), then: awaited)
    }

    mutating func uploaded(_ device: Int, _ number: Int32) {
        noteCommitted(device, number)
        if let began = devices[device].daemon.roundBegan {
            devices[device].daemon.approach?.note(
                .milliseconds(now - began), sent: sealed[Int(number)].sequence)
        } else if devices[device].disk.waiting.isEmpty {
            devices[device].daemon.nextCheckpoint = clock(device)
        }
    }

    mutating func uploadFailed(_ device: Int, _ failure: Failure) -> Stop {
        if devices[device].daemon.roundBegan != nil { noteRoundFailed(device) }
        return .failed(failure)
    }

    mutating func noteCommitted(_ device: Int, _ number: Int32) {
        let checkpoint = sealed[Int(number)]
        acknowledge(device, checkpoint.sequence)
        noteHead(device, checkpoint.sequence, checkpoint.kind)
    }

    // MARK: What the server has gone past

    /// The server's history has come as far as this one, which waits here, or past it. (`VMHost.drop`)
    mutating func drop(_ device: Int, _ sequence: Sequence, inDeparture: Bool) throws(Stop) {
        let head = devices[device].daemon.record?.head ?? .base
        try look(device, upTo: max(head, sequence), oldest: sequence, inDeparture: inDeparture)
    }

    /// What two devices have the holder may have sent in one with what came after it: the newest is looked at first.
    private mutating func look(
        _ device: Int, upTo limit: Sequence, oldest: Sequence, inDeparture: Bool
    ) throws(Stop) {
        let waiting = devices[device].disk.waiting
        guard let first = waiting.first(where: { $0.sequence == oldest }) else { return }
        guard let next = waiting.last(where: { $0.sequence <= limit }) else {
            try setAside(device, first)
            if inDeparture { try sendLast(device, again: true) }
            return
        }
        ask(
            device, .checkpoint(next.sequence),
            then: .looked(next.sequence, oldest: oldest, inDeparture: inDeparture))
    }

    /// - Parameter there: the server's checkpoint at `sequence`.
    mutating func settle(
        _ device: Int, _ sequence: Sequence, _ oldest: Sequence, there: Int32?, inDeparture: Bool
    ) throws(Stop) {
        let waiting = devices[device].disk.waiting
        guard let found = waiting.first(where: { $0.sequence == sequence }) else { return }
        guard let there, isOurs(device, found, there) else {
            return try look(device, upTo: sequence.previous, oldest: oldest, inDeparture: inDeparture)
        }
        for known in waiting where known.sequence <= sequence { acknowledge(device, known.sequence) }
        if inDeparture { try sendLast(device, again: true) }
    }

    private func isOurs(_ device: Int, _ waiting: DeviceDisk.Waiting, _ there: Int32) -> Bool {
        let (found, ours) = (sealed[Int(there)], sealed[Int(waiting.number)])
        guard found.sequence == waiting.sequence else { return false }
        // The very state, whoever has sent it, and under whichever epoch.
        return found.work == ours.work && found.pack.digest == ours.pack.digest
    }

    /// The VM went on without it: it is kept, and the replica is off the history.
    ///
    /// Order: the replica is marked → the checkpoint leaves the outbox. The other way round a kill between the two would
    /// leave a replica that passes for the server's checkpoint of the same number.
    private mutating func setAside(_ device: Int, _ waiting: DeviceDisk.Waiting) throws(Stop) {
        note("device \(device) keeps \(waiting.sequence) as a fork")
        markDamaged(device)
        try write(device)
        devices[device].disk.forks.append(waiting)
        acknowledge(device, waiting.sequence)
        try write(device)
    }
}

extension Duration {
    var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        return Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
    }
}
