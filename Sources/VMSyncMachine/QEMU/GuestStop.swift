import NIOCore
import QMP
import Synchronization
import VMSyncCore

/// One stop of the guest for a checkpoint, as QEMU's events tell it.
///
/// QEMU is told to migrate the *running* guest. So it connects, sends the screen's memory once and makes itself ready
/// while the guest still runs, and stops it by itself for the rest alone: devices, and what changed on the screen
/// meanwhile. Of all that a pause would hold if the guest were stopped first, that is the smaller part.
package final class GuestStop: Sendable {
    /// Moments of the stop, in milliseconds since 1970 by the host's clock; nil what has not happened.
    package struct Times: Sendable {
        /// No virtual CPU runs any more.
        package fileprivate(set) var stopped: Double?
        /// Every request to the disks has been answered, and they are flushed.
        package fileprivate(set) var drained: Double?
        /// QEMU has sent all its state.
        package fileprivate(set) var saved: Double?
        /// The guest goes on.
        package fileprivate(set) var resumed: Double?
    }

    /// How the migration ended, if not well.
    struct Ended: Error { let status: QMPMigrationStatus }

    private struct State {
        /// Whether no virtual CPU runs.
        var isStopped: Bool
        var hasShutDown = false
        var times = Times()
    }

    private let state: Mutex<State>
    private let drained = Milestone()
    private let saved = Milestone()

    /// - Parameter wasRunning: whether there is a guest to stop; one that stands still already tells no event of it.
    init(wasRunning: Bool) { state = Mutex(State(isStopped: !wasRunning)) }

    package var times: Times { state.withLock { $0.times } }
    var hasShutDown: Bool { state.withLock { $0.hasShutDown } }

    /// Takes in an event of QEMU; nil when the connection has ended.
    func take(_ event: QMPEvent?) {
        guard let event else { return fail(QMPError.closed(reason: "QEMU closed the connection")) }
        let time = event.timestamp.milliseconds
        switch event.kind {
        case .stop:
            state.withLock {
                $0.isStopped = true
                $0.times.stopped = time
            }
        case .migrationPass: notePass(at: time)
        case .migration(.completed):
            state.withLock { $0.times.saved = time }
            saved.reach()
        case .migration(let status) where status.isFinal: fail(Ended(status: status))
        case .shutdown(guest: true, _):
            state.withLock { $0.hasShutDown = true }
            fail(VMSyncError.guestHasShutDown)
        case .resume: state.withLock { $0.times.resumed = time }
        default: break
        }
    }

    /// QEMU begins a pass over the memory that it sends. The pass after the stop is the last, and by then the disks are
    /// at rest: a request that was under way may still have written to the guest's memory after the stop itself.
    private func notePass(at time: Double) {
        let isLast = state.withLock { state in
            guard state.isStopped, state.times.drained == nil else { return false }
            state.times.drained = time
            return true
        }
        if isLast { drained.reach() }
    }

    /// Ends all waiting. Does nothing once everything is there.
    func fail(_ error: any Error) {
        drained.reach(.failure(error))
        saved.reach(.failure(error))
    }

    nonisolated(nonsending) func waitDrained() async throws { try await drained.wait() }

    nonisolated(nonsending) func waitSaved() async throws { try await saved.wait() }
}

extension QMPEvent.Timestamp {
    fileprivate var milliseconds: Double { Double(seconds) * 1000 + Double(microseconds) / 1000 }
}
