import VMSyncCore
import VMSyncPolicy

/// The server's side of each request. Each but the commit is one transaction; a refused one changes nothing.
extension World {
    private var serverTime: Timestamp { Timestamp(rawValue: Int64(now + server.clockOffset)) }

    /// - Returns: nil if the server died over it.
    mutating func carryOut(_ request: Request, by device: Int) throws(Violation) -> Answer? {
        switch request {
        case .record: return .record(readRecord())
        case .checkpoint(let sequence): return .checkpoint(server.committed(at: sequence)?.checkpoint)
        case .pack(let sequence): return .checkpoint(pack(after: sequence))
        case .base: return .done
        case .commit(let checkpoint, let then): return try commit(checkpoint, then, by: device)
        default: return answer(to: request, by: device)
        }
    }

    /// What a read shows: a switch that has expired, which is not noted by that.
    mutating func readRecord() -> Int {
        var lease = server.lease
        lease.settle(at: serverTime)
        if lease != server.lease { server.published.append(server.state(of: lease, now: now)) }
        return server.published.count - 1
    }

    private func pack(after sequence: Sequence) -> Int32? {
        let index = Int(sequence.rawValue)
        guard index < server.following.count, let next = server.following[index] else { return nil }
        return server.committed(at: next)?.checkpoint
    }

    private mutating func answer(to request: Request, by device: Int) -> Answer {
        do throws(VMSyncError) {
            return try change(request, by: device)
        } catch {
            return .failed(Failure(error))
        }
    }

    private mutating func change(_ request: Request, by device: Int) throws(VMSyncError) -> Answer {
        let name = Names.devices[device]
        var lease = server.lease
        lease.settle(at: serverTime)
        var answer = Answer.done
        switch request {
        case .acquire(let force): answer = .epoch(try lease.acquire(by: name, force: force))
        case .release(let epoch, let word):
            let said = word ? ReleaseWord(device: device, after: server.head).data : nil
            try lease.release(by: name, epoch: Epoch(rawValue: epoch), word: said)
        case .handedOver(let from, let seen, let epoch, let word):
            try lease.handedOver(
                from: Names.devices[from], Epoch(rawValue: seen), to: name, under: Epoch(rawValue: epoch),
                word: word?.data)
        case .requestSwitch(let target, let isCold):
            let id = Names.switchID(server.switchesRequested)
            _ = try lease.requestSwitch(id, to: Names.devices[target], isCold: isCold, at: serverTime)
            server.switchesRequested += 1
        case .ready(let id, let held): try note(.ready(at: held), to: id, by: name, in: &lease)
        case .refuse(let id): try note(.refuse(.init()), to: id, by: name, in: &lease)
        case .fail(let id): try note(.fail(.init()), to: id, by: name, in: &lease)
        case .done(let id): try note(.done, to: id, by: name, in: &lease)
        case .record, .checkpoint, .pack, .base, .commit: break
        }
        noteForce(request, lease)
        keep(lease)
        return answer
    }

    private func note(
        _ answer: SwitchAnswer, to id: Int32, by name: DeviceID, in lease: inout LeaseState
    ) throws(VMSyncError) {
        _ = try lease.answer(answer, to: Names.switchID(id), by: name, at: serverTime)
    }

    private mutating func noteForce(_ request: Request, _ lease: LeaseState) {
        guard server.lease.holder != nil, lease.epoch != server.lease.epoch else { return }
        switch request {
        case .acquire: break
        case .handedOver: guard lease.epoch == server.lease.epoch.afterForce else { return }
        default: return
        }
        ledger.noteForced(from: server.lease.epoch, to: lease.epoch)
    }

    private mutating func keep(_ lease: LeaseState) {
        guard lease != server.lease else { return }
        server.lease = lease
        note("server: \(Self.words(for: lease))")
        publish()
    }

    private static func words(for lease: LeaseState) -> String {
        let holder = lease.holder.map(Names.index(of:)) ?? -1
        let pending = lease.lastSwitch.map { ", switch \($0.id.rawValue.suffix(3)) \($0.state)" } ?? ""
        return "epoch \(lease.epoch), holder \(holder), head \(lease.headSequence)" + pending
    }

    // MARK: Commits

    /// Pack durable → transaction durable → answer and events.
    private mutating func commit(_ number: Int32, _ then: Then, by device: Int) throws(Violation) -> Answer? {
        if server.isFull { return .failed(.noSpace) }
        server.namelessPacks += 1
        if goesWrong(.serverKilledBeforeTransaction) {
            stopServer()
            return nil
        }
        let checkpoint = sealed[Int(number)]
        var lease = server.lease
        lease.settle(at: serverTime)
        let decision: CommitDecision
        do throws(VMSyncError) {
            let known = server.committed(at: checkpoint.sequence).map(record(of:))
            let (offer, name) = offer(of: checkpoint, then, by: device)
            decision = try lease.commit(offer, by: name, known: known, at: serverTime)
        } catch {
            server.namelessPacks -= 1
            return .failed(Failure(error))
        }
        guard case .accepted = decision else {
            server.namelessPacks -= 1
            return acknowledge(checkpoint)
        }
        return try accept(checkpoint, then, lease)
    }

    private mutating func accept(
        _ checkpoint: SealedCheckpoint, _ then: Then, _ lease: LeaseState
    ) throws(Violation) -> Answer? {
        try checkOneLine(checkpoint, after: server.head)
        if canary == .earlyAck {
            server.undo = .init(lease: server.lease, length: server.history.count, parent: checkpoint.parent)
            queue.plan(.becomeDurable, at: now + 200)
        }
        let target = then.isMove ? server.lease.lastSwitch.map { Names.index(of: $0.to) } ?? -1 : -1
        server.note(
            .init(
                checkpoint: checkpoint.number, device: checkpoint.device, epoch: checkpoint.epoch, then: then,
                target: target), at: checkpoint.sequence, after: checkpoint.parent)
        server.namelessPacks -= 1
        note("server: checkpoint \(checkpoint.sequence) of \(checkpoint.device) is the head, \(then)")
        keep(lease)
        if goesWrong(.serverKilledAfterTransaction) {
            stopServer()
            return nil
        }
        return acknowledge(checkpoint)
    }

    private mutating func acknowledge(_ checkpoint: SealedCheckpoint) -> Answer {
        ledger.noteAcknowledged(checkpoint)
        return .checkpoint(checkpoint.number)
    }

    private func record(of committed: SimulatedServer.Committed) -> CheckpointRecord {
        let checkpoint = sealed[Int(committed.checkpoint)]
        return CheckpointRecord(
            sequence: checkpoint.sequence, basis: checkpoint.parent, epoch: checkpoint.epoch,
            device: Names.devices[checkpoint.device], kind: checkpoint.kind, size: 1,
            checksum: Names.hash(ofCheckpoint: checkpoint.number), statement: .init(), created: serverTime)
    }

    private func offer(
        of checkpoint: SealedCheckpoint, _ then: Then, by device: Int
    ) -> (CommitOffer, DeviceID) {
        let isUnfenced = canary == .lostFence
        let offer = CommitOffer(
            epoch: isUnfenced ? server.lease.epoch : checkpoint.epoch, sequence: checkpoint.sequence,
            parent: checkpoint.parent, kind: checkpoint.kind, size: 1,
            checksum: Names.hash(ofCheckpoint: checkpoint.number), then: then.afterCommit)
        return (offer, isUnfenced ? server.lease.holder ?? Names.devices[device] : Names.devices[device])
    }

    // MARK: Its life

    /// The server dies, and is started again after a while.
    mutating func stopServer() {
        note("server dies")
        server.isUp = false
        server.losePower()
        for device in devices.indices where devices[device].isConnected { disconnect(device) }
        queue.plan(.startServer, at: now + random.within(200...15_000))
    }

    /// It has its store for itself, and removes what has no name.
    mutating func startServer() {
        note("server starts")
        server.isUp = true
        server.namelessPacks = 0
    }
}

extension Then {
    var isMove: Bool { if case .move = self { true } else { false } }
}

extension SimulatedServer {
    /// Longer than this the holder need not be heard before a standby may take over; well above what a link that works
    /// ever takes.
    static let silenceMax = 6000

    func state(of lease: LeaseState, now: Int) -> Published {
        let holder = lease.holder.map(Names.index(of:))
        return Published(
            state: DeviceSituation.Server(
                holder: lease.holder, epoch: lease.epoch, head: lease.headSequence, headKind: lease.head?.kind ?? .off,
                pendingSwitch: lease.lastSwitch),
            release: ReleaseWord(lease.release),
            silent: holder.flatMap { now - heard[$0] > Self.silenceMax ? $0 : nil })
    }
}
