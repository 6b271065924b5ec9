import VMSyncCore
import VMSyncPolicy

/// What a daemon does when the answer comes that it waited for.
extension World {
    mutating func goOn(_ device: Int, _ awaited: Awaited, _ answer: Answer) throws(Stop) {
        if case .failed(let failure) = answer { return try goOn(device, awaited, afterFailure: failure) }
        switch (awaited, answer) {
        case (.uploaded(let number), _): uploaded(device, number)
        case (.earlierSent(let number), _):
            noteCommitted(device, number)
            try sendLast(device, again: true)
        case (.lastSent(let number, _), _):
            noteCommitted(device, number)
            try departed(device)
        case (.looked(let sequence, let oldest, let inDeparture), .checkpoint(let there)):
            try settle(device, sequence, oldest, there: there, inDeparture: inDeparture)
        case (.granted(let id), .verdict(let isTaken)): try granted(device, id, isTaken: isTaken)
        case (.settling, .record(let index)):
            takeRecord(index, device)
            try settle(device)
        case (.settlingFailed, _): try goOnHere(device)
        case (.refreshed, .record(let index)): takeRecord(index, device)
        case (.toldFailure(let failure), _): throw .failed(failure)
        case (.base, _): devices[device].disk.hasBase = true
        case (.pack, .checkpoint(let number)): try takePack(device, number)
        case (.toldReady, _), (.told, _), (.arrived, _), (.followed, _): ask(device, .record, then: .refreshed)
        default: try goOnStarting(device, awaited, answer)
        }
    }

    private mutating func goOn(
        _ device: Int, _ awaited: Awaited, afterFailure failure: Failure
    ) throws(Stop) {
        switch awaited {
        case .uploaded: throw uploadFailed(device, failure)
        case .lastSent(_, let again): try lastFailed(device, failure, again: again)
        case .toldFailure(let first): throw .failed(first)
        // The VM runs already, or the source goes on without it, only later.
        case .arrived, .followed: break
        case .acquired, .refreshedToRelease, .releasedToAcquire, .started: refuseRequest(device)
        case .gaveUp(let first): try releaseAfterGivingUp(device, first)
        default: throw .failed(failure)
        }
    }

    /// A newer record is what this device knows from now on. (`VMHost.take`)
    mutating func takeRecord(_ index: Int, _ device: Int) {
        guard index >= devices[device].daemon.revision else { return }
        let known = devices[device].daemon.record
        let published = server.published[index]
        devices[device].daemon.record = published.state
        devices[device].daemon.revision = index
        noteServerLease(device)
        devices[device].daemon.release = published.release
        devices[device].daemon.silent = published.silent
        if let known { noteHead(device, known.head, known.headKind) }
    }

    /// What was committed from here is known before the record of it comes.
    mutating func noteHead(_ device: Int, _ head: Sequence, _ kind: CheckpointKind) {
        guard let record = devices[device].daemon.record, head > record.head else { return }
        devices[device].daemon.record?.head = head
        devices[device].daemon.record?.headKind = kind
    }
}
