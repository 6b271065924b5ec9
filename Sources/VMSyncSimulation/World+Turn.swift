import VMSyncCore
import VMSyncPolicy

/// Why a daemon doesn't go on with what it does.
enum Stop: Error, Equatable {
    case killed
    case failed(Failure)
}

/// The one task of a VM on a device: one decision, one action, and again. (`VMHost.run`)
extension World {
    /// Milliseconds from one turn to the next.
    private static let pace = 1...10
    /// A daemon with a fault before it dies within so many writes.
    private static let writesToDeath = 7

    /// Something has changed that the daemon may act on: it looks at once, also if it rests.
    mutating func wake(_ device: Int) { planTurn(device, at: now + random.within(Self.pace)) }

    /// Plans a turn, unless an earlier one is planned.
    mutating func planTurn(_ device: Int, at time: Int) {
        guard devices[device].isDaemonUp, time < devices[device].turnTime else { return }
        devices[device].turn += 1
        devices[device].turnTime = time
        queue.plan(.turn(device: device, number: devices[device].turn), at: time)
    }

    mutating func turn(_ device: Int, _ number: Int) {
        guard number == devices[device].turn else { return }
        devices[device].turnTime = .max
        guard devices[device].isDaemonUp, devices[device].daemon.awaited == .nothing else { return }
        makeWork(device)
        perform(device) { world throws(Stop) in
            if !world.devices[device].daemon.isAdopted { try world.open(device) }
            guard try !world.beginRequest(device) else { return false }
            world.endRequests(device)
            let action = world.nextAction(device)
            guard action != .wait else { return true }
            world.note("device \(device): \(action)")
            try world.act(action, device)
            return false
        }
    }

    /// Does a part of an action that is free of waiting, and what comes after it.
    /// - Parameter part: gives whether there was nothing to do.
    private mutating func perform(_ device: Int, _ part: (inout World) throws(Stop) -> Bool) {
        if settings.rate > 0, settings.allows(.daemonKilledInWrites), random.chance(settings.rate) {
            devices[device].writesLeft = random.below(Self.writesToDeath)
        }
        do throws(Stop) {
            let isIdle = try part(&self)
            guard devices[device].daemon.awaited == .nothing else { return }
            if isIdle { return planLook(device) }
            devices[device].daemon.failures = 0
            devices[device].daemon.problem = nil
            wake(device)
        } catch {
            switch error {
            case .killed: killDaemon(device)
            case .failed(let failure): fail(device, failure)
            }
        }
        devices[device].writesLeft = .max
    }

    /// The answer to a question of an earlier daemon, or one that was given up, is nobody's.
    mutating func take(_ answer: Answer, to question: Int, _ device: Int) {
        if canary == .unorderedApply { takeStrayPack(answer, to: question, device) }
        guard devices[device].isDaemonUp, question == devices[device].question else { return }
        let awaited = devices[device].daemon.awaited
        devices[device].daemon.awaited = .nothing
        makeWork(device)
        if awaited == .refreshedAfterFailure {
            if case .record(let index) = answer { takeRecord(index, device) }
            return rest(device)
        }
        perform(device) { world throws(Stop) in
            try world.goOn(device, awaited, answer)
            return false
        }
    }

    /// When there may be something to do without a word from outside.
    private mutating func planLook(_ device: Int) {
        guard devices[device].daemon.machineState == .running else { return }
        let due = devices[device].daemon.nextCheckpoint - devices[device].clockOffset
        planTurn(device, at: max(due, now + 1))
    }

    /// Notes a failure, tells whoever waits, and rests before the next try. (`VMHost.fail`)
    mutating func fail(_ device: Int, _ failure: Failure) {
        note("device \(device) fails: \(failure)")
        devices[device].daemon.problem = failure
        devices[device].daemon.failures += 1
        devices[device].daemon.requests = []
        devices[device].daemon.begun = 0
        if failure != .unavailable, devices[device].daemon.record != nil {
            return ask(device, .record, then: .refreshedAfterFailure)
        }
        rest(device)
    }

    mutating func rest(_ device: Int) {
        planTurn(device, at: now + 100 << min(devices[device].daemon.failures - 1, 5))
    }

    /// A durable write: a place to die.
    mutating func write(_ device: Int) throws(Stop) {
        devices[device].writesLeft -= 1
        guard devices[device].writesLeft < 0 else { return }
        faults.note(.daemonKilledInWrites)
        throw .killed
    }

    // MARK: Deciding

    private mutating func nextAction(_ device: Int) -> DeviceAction {
        noteSwitch(device)
        return situation(device).nextAction
    }

    private mutating func noteSwitch(_ device: Int) {
        guard devices[device].daemon.machineState == .running else { return }
        let approach = SwitchApproach.following(
            devices[device].daemon.approach, devices[device].daemon.record?.pendingSwitch, from: devices[device].name)
        if let approach, approach.id != devices[device].daemon.approach?.id {
            devices[device].daemon.nextCheckpoint = clock(device)
        }
        devices[device].daemon.approach = approach
    }

    /// What the device's clock shows.
    func clock(_ device: Int) -> Int { now + devices[device].clockOffset }

    func situation(_ device: Int) -> DeviceSituation {
        let problem = devices[device].daemon.problem
        let waiting = devices[device].disk.waiting
        var situation = DeviceSituation(
            me: devices[device].name, server: devices[device].daemon.record,
            machine: devices[device].daemon.machineState, replica: devices[device].disk.replica,
            hasBase: devices[device].daemon.isAdopted, outbox: waiting.map(\.sequence),
            outboxEpoch: waiting.first?.epoch, tenure: devices[device].disk.tenure?.epoch,
            isDeparting: devices[device].disk.tenure?.departure != nil,
            serverTakesNothing: problem == .unavailable || problem == .noSpace,
            checkpointIsDue: devices[device].daemon.nextCheckpoint <= clock(device),
            approach: devices[device].daemon.approach?.next ?? .lastCheckpoint,
            startWanted: devices[device].daemon.requests.contains { $0.isStart }, obstacle: nil)
        situation.isFenced = devices[device].daemon.isDiverged
        situation.outboxMax = OutboxOrder.settledMax(of: waiting)
        situation.isHandedHere = isHandedHere(device)
        situation.isHandoverUntold = untold(device) != nil
        if let cold = devices[device].daemon.coldSwitch, cold.id == devices[device].daemon.record?.pendingSwitch?.id {
            let isLong = .milliseconds(now - cold.asked) >= DeviceSituation.Shutdown.max
            situation.shutdown = isLong ? .overdue : .asked
        }
        return situation
    }

    private mutating func act(_ action: DeviceAction, _ device: Int) throws(Stop) {
        switch action {
        case .wait: break
        case .fetchBase: ask(device, .base, then: .base)
        case .rebuild: try rebuild(device)
        case .applyNext: ask(device, .pack(after: devices[device].disk.record.sequence), then: .pack)
        case .drop(let sequence): try drop(device, sequence, inDeparture: false)
        case .upload: try upload(device)
        case .checkpoint: try sendCheckpoint(device)
        case .keep: try keepCheckpoint(device)
        case .shutDownGuest(let id):
            devices[device].daemon.coldSwitch = (id, now)
            // Some guests ask their person first, who isn't there.
            if random.below(4) > 0 { shutDownGuest(device) }
        case .sealOff: try sealOff(device)
        case .handOver(let id): try depart(device, then: .move(id))
        case .settleDeparture: try settleDeparture(device)
        case .failHandOver(let id): ask(device, .fail(Names.number(of: id)), then: .told)
        case .prepare: try prepare(device)
        case .discard: discardMachine(device)
        case .announceReady(let id):
            ask(device, .ready(Names.number(of: id), at: devices[device].disk.record.sequence), then: .toldReady)
        case .refuse(let id, _): ask(device, .refuse(Names.number(of: id)), then: .refreshed)
        case .goActive: try goActive(device)
        case .confirmArrival(let id): ask(device, .done(Names.number(of: id)), then: .told)
        case .declineHandOver(let id, _): ask(device, .fail(Names.number(of: id)), then: .told)
        case .stepDown, .keepLateWork: try stepDown(device)
        }
    }
}

extension PersonRequest {
    var isStart: Bool { if case .start = self { true } else { false } }
}
