import VMSyncCore
import VMSyncPolicy

/// What a person asks of one daemon. (`VMHost+Requests.swift`)
extension World {
    /// A person types a command on `device`; one that can't be carried out is refused at once.
    mutating func request(_ request: PersonRequest, of device: Int) {
        let daemon = devices[device].daemon
        guard devices[device].isDaemonUp, !daemon.isDiverged else { return }
        guard request.isStart != (daemon.machineState == .running) else { return }
        note("person: \(request) on device \(device)")
        devices[device].daemon.requests.append(request)
        wake(device)
    }

    /// Begins what was asked for last.
    /// - Returns: whether there was anything.
    mutating func beginRequest(_ device: Int) throws(Stop) -> Bool {
        let begun = devices[device].daemon.begun
        guard begun < devices[device].daemon.requests.count else { return false }
        devices[device].daemon.begun += 1
        switch devices[device].daemon.requests[begun] {
        case .start(let force):
            if !force, untold(device) != nil {
                // The server must hear first that this device has it, as it does before it is sent anything.
                refuseRequest(device)
            } else if force, isGivenAway(device) {
                takeLeaseBack(device)
            } else if isGivenAway(device) {
                // The server would give it: it doesn't know yet.
                refuseRequest(device)
            } else {
                ask(device, .acquire(force: force), then: .acquired(force: force))
            }
        case .give(let target): try give(device, to: target)
        case .suspend: try depart(device, then: .release)
        case .shutDown: shutDownGuest(device)
        case .pullPlug: pullPlug(device)
        }
        return true
    }

    /// What has come true is answered, and so forgotten.
    mutating func endRequests(_ device: Int) {
        guard !devices[device].daemon.requests.isEmpty else { return }
        let isRunning = devices[device].daemon.machineState == .running
        let isGone = devices[device].daemon.machineState == .none && devices[device].disk.tenure == nil
        devices[device].daemon.requests.removeAll { $0.isGift || ($0.isStart ? isRunning : isGone) }
        devices[device].daemon.begun = devices[device].daemon.requests.count
    }

    /// The person hears why it can't be.
    mutating func refuseRequest(_ device: Int) {
        guard devices[device].daemon.begun > 0 else { return }
        devices[device].daemon.begun -= 1
        devices[device].daemon.requests.remove(at: devices[device].daemon.begun)
    }

    mutating func goOnStarting(_ device: Int, _ awaited: Awaited, _ answer: Answer) throws(Stop) {
        switch (awaited, answer) {
        case (.acquired(let force), .epoch(let epoch)):
            if devices[device].disk.released >= epoch {
                return ask(device, .record, then: .refreshedToRelease(epoch, force: force))
            }
            if force { devices[device].daemon.forcedEpoch = epoch }
            ask(device, .record, then: .started)
        case (.acquired, .done):
            // Taken back from a device that is lost.
            devices[device].daemon.forcedEpoch = devices[device].daemon.serverLease.epoch.afterForce
            ask(device, .record, then: .started)
        case (.refreshedToRelease(let epoch, let force), .record(let index)):
            takeRecord(index, device)
            let word = try noteRelease(device)
            ask(device, .release(epoch: epoch.rawValue, word: word), then: .releasedToAcquire(force: force))
        case (.releasedToAcquire(let force), _):
            ask(device, .acquire(force: false), then: .acquired(force: force))
        case (.started, .record(let index)):
            let before = devices[device].daemon.record?.epoch ?? Epoch(rawValue: 0)
            takeRecord(index, device)
            try keepWhatIsHere(device, of: before)
        case (.gaveUp(let failure), _): try releaseAfterGivingUp(device, failure)
        case (.releasedAfterGivingUp(let failure), _): ask(device, .record, then: .toldFailure(failure))
        default: throw .failed(.other)
        }
    }

    // MARK: Whether this device may run the VM

    /// Notes that this device does not run the VM under the present epoch.
    /// - Returns: whether others need its word for it.
    mutating func noteRelease(_ device: Int) throws(Stop) -> Bool {
        let epoch = devices[device].daemon.record?.epoch ?? Epoch(rawValue: 0)
        try write(device)
        devices[device].disk.released = max(devices[device].disk.released, epoch)
        guard let last = lastStatement(device) else { return false }
        switch last.then {
        case .keep: return last.device == device
        case .move: return last.target == device
        case .release: return false
        }
    }

    /// The statement of the checkpoint that the replica holds, to which the chain was followed.
    private func lastStatement(_ device: Int) -> SimulatedServer.Committed? {
        server.committed(at: chainPoint(device))
    }

    /// The state that the server has, as far as this device knows; what waits here comes after it.
    func chainPoint(_ device: Int) -> Sequence {
        devices[device].disk.waiting.first?.parent ?? devices[device].disk.record.sequence
    }

    /// By rule 3 of docs/protocol/trust.md, "The chain of checkpoints".
    func mayRun(_ device: Int, under epoch: Epoch) -> Bool {
        guard devices[device].disk.released < epoch else { return false }
        guard let last = lastStatement(device) else { return true }
        if epoch > last.epoch, isForced(device, epoch) { return true }
        switch last.then {
        case .keep:
            return last.device == device && last.epoch == epoch
                || epoch > last.epoch && isReleased(by: last.device, device)
        case .release: return epoch > last.epoch
        case .move:
            return last.target == device && epoch == last.epoch.next
                || epoch > last.epoch && isReleased(by: last.target, device)
        }
    }

    private func isReleased(by giver: Int, _ device: Int) -> Bool {
        let word = ReleaseWord(device: giver, after: chainPoint(device))
        return devices[device].daemon.release == word || words(of: devices[device].disk.handovers).contains(word)
    }

    /// Whether a person has said that this device takes the VM over, under this epoch.
    func isForced(_ device: Int, _ epoch: Epoch) -> Bool {
        let tenure = devices[device].disk.tenure
        return devices[device].daemon.forcedEpoch == epoch || (tenure?.isForced ?? false) && tenure?.epoch == epoch
    }
}
