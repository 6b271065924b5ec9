import VMSyncCore
import VMSyncPolicy

/// The grant of a VM on its way from device to device, and which question of the giver it is.
struct Grant {
    let from: Int
    let to: Int
    let question: Int
    let handovers: Handovers
}

/// Handing a VM over without the server. (`VMHost+Departure.swift`, `VMHost+Arrival.swift`, `VMHost+Handovers.swift`)
extension World {
    /// Milliseconds between two devices in one house.
    private static let house = 1...5
    /// Until a device gives a grant up that nobody answers.
    private static let patience = 100...2000

    // MARK: Giving

    /// What waits is pushed, perhaps a round, and the last state; the grant is sent when it is noted.
    mutating func give(_ source: Int, to target: Int) throws(Stop) {
        guard devices[source].daemon.machineState == .running, devices[source].qemu == .running,
            let tenure = devices[source].disk.tenure, tenure.departure == nil, source != target
        else { throw .failed(.wrongState) }
        try settleOutbox(source)
        try push(source, to: target)
        if random.half() {
            _ = try capture(source, thenResume: true)
            try push(source, to: target)
        }
        let sequence = devices[source].disk.record.sequence.next
        let id = Names.switchID(server.switchesRequested)
        server.switchesRequested += 1
        try saveTenure(source, tenure.departing(.init(sequence: sequence, directly: id)), isSynced: true)
        do throws(Stop) {
            _ = try capture(source, thenResume: false)
            try push(source, to: target)
            try note(
                Handover(
                    id: id, from: devices[source].name, to: devices[target].name, epoch: tenure.epoch,
                    sequence: sequence, words: words(from: source).map(\.data)), on: source)
        } catch {
            guard case .failed(let failure) = error else { throw error }
            try goOnHere(source)
            throw .failed(failure)
        }
        deliver(source)
    }

    private mutating func note(_ handover: Handover, on device: Int) throws(Stop) {
        var handovers = devices[device].disk.handovers
        do throws(VMSyncError) { try handovers.add(handover) } catch { throw .failed(.wrongState) }
        try save(handovers, device)
    }

    private mutating func save(_ handovers: Handovers, _ device: Int) throws(Stop) {
        try write(device)
        devices[device].disk.handovers = handovers
        showHandovers(device)
        try write(device)
    }

    /// One after each checkpoint that the server may stand at.
    private func words(from device: Int) -> [ReleaseWord] {
        let offered = devices[device].disk.waiting.first.flatMap { $0.isOffered ? $0.sequence : nil }
        return [chainPoint(device), offered].compactMap(\.self).map { ReleaseWord(device: device, after: $0) }
    }

    /// Sends all that the other device lacks, which applies it.
    private mutating func push(_ source: Int, to target: Int) throws(Stop) {
        let held = devices[target].disk.replica
        let waiting = devices[source].disk.waiting
        let missing = waiting.drop { $0.sequence <= held ?? .base }
        guard let held, (missing.first?.parent ?? devices[source].disk.record.sequence) == held else {
            throw .failed(.wrongState)
        }
        for next in missing {
            guard canReach(source, target), !goesWrong(.requestLost) else { throw .failed(.unavailable) }
            try onDevice(target) { world throws(Stop) in try world.receive(target, next, from: source) }
            for place in devices[source].disk.outbox.indices {
                if devices[source].disk.outbox[place].sequence == next.sequence {
                    devices[source].disk.outbox[place].awaitedBy.insert(target)
                } else {
                    devices[source].disk.outbox[place].awaitedBy.remove(target)
                }
            }
        }
    }

    private func canReach(_ device: Int, _ other: Int) -> Bool {
        !devices[device].isCutFromOthers && !devices[other].isCutFromOthers && devices[other].isDaemonUp
            && devices[other].daemon.isAdopted && devices[other].daemon.awaited == .nothing
    }

    /// What another device does for this one's sake; it may die over it.
    private mutating func onDevice(_ device: Int, _ body: (inout World) throws(Stop) -> Void) throws(Stop) {
        if settings.rate > 0, settings.allows(.daemonKilledInWrites), random.chance(settings.rate) {
            devices[device].writesLeft = random.below(7)
        }
        defer { devices[device].writesLeft = .max }
        do throws(Stop) { try body(&self) } catch {
            guard case .killed = error else { throw error }
            killDaemon(device)
            throw .failed(.unavailable)
        }
        wake(device)
    }

    private mutating func receive(_ device: Int, _ pack: DeviceDisk.Waiting, from source: Int) throws(Stop) {
        let record = devices[device].daemon.record
        guard record?.holder == devices[source].name, record?.epoch == pack.epoch, isIdle(device) else {
            throw .failed(.wrongState)
        }
        if devices[device].disk.isFull { throw .failed(.noSpace) }
        var received = DeviceDisk.Waiting(sealed[Int(pack.number)])
        received.isReceived = true
        devices[device].disk.outbox.removeAll { $0.sequence == received.sequence }
        let place = devices[device].disk.outbox.firstIndex { $0.sequence > received.sequence }
        devices[device].disk.outbox.insert(received, at: place ?? devices[device].disk.outbox.endIndex)
        try write(device)
        devices[device].disk.inbox = received.number
        do throws(Stop) { try applyInbox(device, received.number) } catch {
            if case .failed = error, devices[device].disk.record.applying != received.number {
                devices[device].disk.outbox.removeAll { $0.sequence == received.sequence }
            }
            throw error
        }
        note("device \(device) holds \(received.sequence), from \(source)")
        if received.kind == .off {
            for place in devices[device].disk.outbox.indices { devices[device].disk.outbox[place].isSynced = true }
        }
        if devices[device].disk.waiting.count > OutboxOrder.sharedMax { try mergeOutbox(device) }
    }

    private func isIdle(_ device: Int) -> Bool {
        let machine = devices[device].daemon.machineState
        return (machine == .none || machine == .waiting) && !devices[device].qemu.hasGuest
            && devices[device].disk.tenure == nil && !devices[device].daemon.isDiverged
    }

    // MARK: The grant

    /// Sends what was noted; the answer may never come.
    private mutating func deliver(_ source: Int) {
        guard let last = devices[source].disk.handovers.last else { return }
        devices[source].question += 1
        devices[source].daemon.awaited = .granted(last.id)
        let grant = Grant(
            from: source, to: Names.index(of: last.to), question: devices[source].question,
            handovers: devices[source].disk.handovers)
        let timeout = now + random.within(Self.patience)
        if devices[source].isCutFromOthers || goesWrong(.requestLost) {
            return planVerdict(.failed(.unavailable), to: grant, at: timeout)
        }
        var arrival = now + random.within(Self.house)
        if goesWrong(.requestLate) {
            planVerdict(.failed(.unavailable), to: grant, at: timeout)
            arrival = timeout + random.below(5000)
        }
        queue.plan(.grant(grant), at: arrival)
    }

    private mutating func planVerdict(_ answer: Answer, to grant: Grant, at time: Int) {
        queue.plan(.answer(device: grant.from, question: grant.question, answer), at: time)
    }

    mutating func arrive(_ grant: Grant) {
        let device = grant.to
        guard devices[device].isDaemonUp, devices[device].daemon.isAdopted, !devices[device].isCutFromOthers else {
            return planVerdict(.failed(.unavailable), to: grant, at: now + random.within(Self.patience))
        }
        // It does one thing after the other.
        guard devices[device].daemon.awaited == .nothing else {
            return queue.plan(.grant(grant), at: now + random.within(10...100))
        }
        var answer = Answer.verdict(isTaken: true)
        do throws(Stop) {
            try onDevice(device) { world throws(Stop) in try world.take(grant) }
        } catch {
            answer = error == .failed(.unavailable) ? .failed(.unavailable) : .verdict(isTaken: false)
        }
        if goesWrong(.answerLost) { answer = .failed(.unavailable) }
        planVerdict(answer, to: grant, at: now + random.within(Self.house))
    }

    /// Order: all is checked → the grant is noted, and with it the VM is here → the outbox, the tenure → the guest runs.
    private mutating func take(_ grant: Grant) throws(Stop) {
        let device = grant.to
        guard let given = grant.handovers.last else { throw .failed(.wrongState) }
        if devices[device].disk.handovers.knows(given.id) { return }
        guard devices[device].daemon.refused.insert(given.id).inserted, isIdle(device) else {
            throw .failed(.wrongState)
        }
        try check(grant, given)
        if devices[device].daemon.machineState != .waiting {
            do throws(Stop) { try prepare(device) } catch { throw .failed(.wrongState) }
        }
        try save(devices[device].disk.handovers.followed(by: grant.handovers), device)
        devices[device].daemon.refused.remove(given.id)
        shareOutbox(device, given)
        try write(device)
        try saveTenure(device, Tenure(epoch: given.epoch.next), isSynced: true)
        try resume(device)
        devices[device].daemon.nextCheckpoint = clock(device)
        note("device \(device) runs the guest under epoch \(given.epoch.next), from \(grant.from)")
    }

    private func check(_ grant: Grant, _ given: Handover) throws(Stop) {
        let device = grant.to
        guard let record = devices[device].daemon.record else { throw .failed(.wrongState) }
        let actual = grant.handovers.actual(record.holder, record.epoch)
        guard actual.holder == devices[device].name,
            actual.epoch == given.epoch.next, devices[device].disk.replica == given.sequence,
            devices[device].disk.record.applying == nil, devices[device].disk.record.kind == .live
        else { throw .failed(.wrongState) }
        var copy = self
        copy.devices[device].disk.handovers = copy.devices[device].disk.handovers.followed(by: grant.handovers)
        guard copy.mayRun(device, under: actual.epoch) else { throw .failed(.wrongState) }
    }

    mutating func granted(_ device: Int, _ id: SwitchID, isTaken: Bool) throws(Stop) {
        guard devices[device].disk.tenure?.departure?.switchID == id else { return }
        note("device \(device): its grant is \(isTaken ? "taken" : "refused")")
        if isTaken { return try handedOver(device, id) }
        // Somebody has taken it by force meanwhile.
        guard devices[device].disk.handovers.last?.id == id else { return try handedOver(device, id) }
        var kept = devices[device].disk.handovers
        kept.removeLast()
        try save(kept, device)
        try goOnHere(device)
    }

    private mutating func handedOver(_ device: Int, _ id: SwitchID) throws(Stop) {
        let handovers = devices[device].disk.handovers
        if let grant = (handovers.former + handovers.list).first(where: { $0.id == id }) { shareOutbox(device, grant) }
        if let tenure = devices[device].disk.tenure {
            devices[device].disk.released = max(devices[device].disk.released, tenure.epoch)
        }
        discardMachine(device)
        try saveTenure(device, nil)
        ask(device, .record, then: .refreshed)
    }

    /// A handover whose end this device doesn't know.
    mutating func settleHandover(_ device: Int, _ id: SwitchID) throws(Stop) {
        guard let record = devices[device].daemon.record, let tenure = devices[device].disk.tenure else { return }
        let isKnown = devices[device].disk.handovers.knows(id)
        if record.holder == devices[device].name, record.epoch == tenure.epoch, !isKnown {
            return try goOnHere(device)
        }
        if devices[device].disk.handovers.last?.id == id { return deliver(device) }
        if let sequence = tenure.departure?.sequence, devices[device].disk.record.sequence < sequence {
            return try stepDown(device)
        }
        let isSame = record.head == chainPoint(device)
        if record.holder == devices[device].name, isForced(device, record.epoch), isSame,
            devices[device].daemon.machineState == .held
        {
            return try takeBack(device, tenure)
        }
        try handedOver(device, id)
    }

    // MARK: Taking back

    func isGivenAway(_ device: Int) -> Bool {
        let name = devices[device].name
        return devices[device].daemon.serverLease.holder == name && devices[device].daemon.record?.holder != name
    }

    mutating func takeLeaseBack(_ device: Int) {
        let seen = devices[device].daemon.serverLease.epoch
        ask(
            device,
            .handedOver(from: device, seen: seen.rawValue, epoch: seen.afterForce.rawValue, word: nil),
            then: .acquired(force: true))
    }

    /// What waits here of the tenure that was ended by force is saved under the new epoch, if the server has it or nothing newer.
    mutating func keepWhatIsHere(_ device: Int, of before: Epoch) throws(Stop) {
        let waiting = devices[device].disk.waiting
        guard let record = devices[device].daemon.record, isForced(device, record.epoch),
            record.head == chainPoint(device) || waiting.contains(where: { $0.sequence == record.head }),
            waiting.allSatisfy({ $0.epoch.leads(to: before) })
        else { return }
        relabel(device, to: record.epoch) { _ in true }
        try write(device)
    }

    /// What is on its way to the server goes straight to the others too, as far as they can be reached.
    mutating func share(_ source: Int) throws(Stop) {
        for target in devices.indices where target != source && random.half() {
            do throws(Stop) { try push(source, to: target) } catch {
                guard case .failed = error else { throw error }
            }
        }
    }

    private mutating func takeBack(_ device: Int, _ tenure: Tenure) throws(Stop) {
        guard let epoch = devices[device].daemon.record?.epoch else { return }
        relabel(device, to: epoch) { _ in true }
        try write(device)
        var taken = Tenure(epoch: epoch, departure: tenure.departure, isForced: true)
        taken.hasSent = tenure.hasSent
        try saveTenure(device, taken, isSynced: true)
        try goOnHere(device)
    }

    // MARK: What the server doesn't know

    func isHandedHere(_ device: Int) -> Bool {
        let disk = devices[device].disk
        guard let last = disk.handovers.last, last.to == devices[device].name else { return false }
        return disk.tenure == nil && disk.replica == last.sequence
    }

    func untold(_ device: Int) -> Handover? {
        guard devices[device].daemon.record?.holder == devices[device].name else { return nil }
        let lease = devices[device].daemon.serverLease
        return devices[device].disk.handovers.untold(lease.holder, lease.epoch)
    }

    /// - Returns: whether there was something to tell, and it is on its way.
    mutating func tellHandover(_ device: Int) throws(Stop) -> Bool {
        guard let first = untold(device), let epoch = devices[device].daemon.record?.epoch else { return false }
        do throws(Stop) { try settleOutbox(device) } catch {
            guard case .failed = error else { throw error }
        }
        for place in devices[device].disk.outbox.indices { devices[device].disk.outbox[place].isSynced = true }
        let word = words(of: devices[device].disk.handovers).first {
            $0.device == Names.index(of: first.from) && $0.after == chainPoint(device)
        }
        ask(
            device,
            .handedOver(
                from: Names.index(of: first.from), seen: first.epoch.rawValue, epoch: epoch.rawValue, word: word),
            then: .told)
        return true
    }

    func words(of handovers: Handovers) -> [ReleaseWord] {
        handovers.words.compactMap { ReleaseWord($0) }
    }

    mutating func noteServerLease(_ device: Int) {
        guard let record = devices[device].daemon.record else { return }
        devices[device].daemon.serverLease = (record.holder, record.epoch)
        devices[device].disk.handovers.settle(at: record.epoch)
        showHandovers(device)
    }

    private mutating func showHandovers(_ device: Int) {
        guard devices[device].daemon.record != nil else { return }
        let lease = devices[device].daemon.serverLease
        let actual = devices[device].disk.handovers.actual(lease.holder, lease.epoch)
        devices[device].daemon.record?.holder = actual.holder
        devices[device].daemon.record?.epoch = actual.epoch
    }

    /// What waits there and here is the right of the new holder to save.
    mutating func shareOutbox(_ device: Int, _ grant: Handover) {
        relabel(device, to: grant.epoch.next) { $0.sequence <= grant.sequence && $0.epoch <= grant.epoch }
        let saved = grant.words.compactMap { ReleaseWord($0)?.after }.max() ?? .base
        for place in devices[device].disk.outbox.indices {
            let sequence = devices[device].disk.outbox[place].sequence
            if sequence == grant.sequence {
                devices[device].disk.outbox[place].awaitedBy.insert(Names.index(of: grant.from))
            }
            if sequence <= saved { devices[device].disk.outbox[place].mayBeSaved = true }
        }
    }

    /// The same states under another epoch, as this device's: what is sent of them is signed anew.
    private mutating func relabel(_ device: Int, to epoch: Epoch, _ isMeant: (DeviceDisk.Waiting) -> Bool) {
        let counting = Set(devices[device].disk.waiting.map(\.number))
        for place in devices[device].disk.outbox.indices {
            let waiting = devices[device].disk.outbox[place]
            guard counting.contains(waiting.number), isMeant(waiting), waiting.epoch != epoch else { continue }
            let old = sealed[Int(waiting.number)]
            let renamed = SealedCheckpoint(
                number: Int32(sealed.count), sequence: old.sequence, parent: waiting.parent, epoch: epoch,
                device: device,
                kind: old.kind, pack: old.pack, units: old.units, work: old.work)
            sealed.append(renamed)
            var new = DeviceDisk.Waiting(renamed)
            (new.awaitedBy, new.mayBeSaved, new.isSynced, new.isOfEarlierBoot) = (
                waiting.awaitedBy, waiting.mayBeSaved, waiting.isSynced, waiting.isOfEarlierBoot
            )
            devices[device].disk.outbox[place] = new
        }
    }
}

extension PersonRequest {
    var isGift: Bool { if case .give = self { true } else { false } }
}
