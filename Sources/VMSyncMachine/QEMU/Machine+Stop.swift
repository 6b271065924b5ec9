import NIOCore
import QMP
import VMSyncCore

/// A guest that QEMU has stopped, at rest, with the state of its devices on the way.
package struct StoppedGuest: Sendable {
    fileprivate let stop: GuestStop
    fileprivate let observation: QMPObservation
    fileprivate let expectation: DeviceStateReceiver.Expectation
    fileprivate let timer: Scheduled<Void>

    package var times: GuestStop.Times { stop.times }
}

extension VMSyncError.Code {
    /// The guest has shut itself down: there is nothing running to be captured.
    package static let shutDown = VMSyncError.Code(rawValue: "shut-down")
}

extension VMSyncError {
    static let guestHasShutDown = VMSyncError(.shutDown, "the guest has shut itself down")
}

extension Machine {
    /// Lets QEMU stop the guest and save its devices. When it returns, no instruction runs, every disk request has been
    /// answered, and the state is being sent; memory changes no more until `resume`.
    ///
    /// If QEMU fails, it lets a guest that it has stopped for this run again by itself; one that stood still before stands
    /// still.
    /// - Parameter mayRunAgain: whether a guest is let run when this fails.
    /// - Throws: `shutDown` if the guest has shut itself down, also while this was under way.
    package nonisolated(nonsending) func stopAndSave(mayRunAgain: Bool = true) async throws -> StoppedGuest {
        try await translating("stopping the guest") { () async throws -> StoppedGuest in
            let status = try await qmp.execute(QMPQueryStatus(), timeout: Self.answerLimit)
            guard status.status != .shutdown else {
                throw VMSyncError.guestHasShutDown
            }
            let stop = GuestStop(wasRunning: status.running)
            let timer = group.any().scheduleTask(in: TimeAmount(Self.answerLimit)) {
                stop.fail(VMSyncError(.timeout, "stopping the guest took longer than \(Self.answerLimit)"))
            }
            let guest = StoppedGuest(
                stop: stop, observation: qmp.observe(stop.take), expectation: receiver.expect(), timer: timer)
            do {
                _ = try await qmp.execute(QMPMigrate(uri: "unix:\(paths.stateOut)"), timeout: Self.answerLimit)
                try await stop.waitDrained()
            } catch {
                if mayRunAgain { await letRunAgain(guest) } else { forget(guest) }
                throw await words(for: error)
            }
            return guest
        }
    }

    /// Gives up a stop that failed, of a guest that must not run again.
    package func forget(_ guest: StoppedGuest) {
        guest.timer.cancel()
        guest.expectation.cancel()
    }

    /// Returns when QEMU has sent all state, so that the guest may continue.
    package nonisolated(nonsending) func waitUntilSaved(_ guest: StoppedGuest) async throws {
        try await translating("saving the device state") { () async throws -> Void in
            do {
                try await guest.stop.waitSaved()
                guest.timer.cancel()
            } catch {
                throw await words(for: error)
            }
        }
    }

    /// The state that QEMU has sent; the guest may run meanwhile.
    package func deviceState(of guest: StoppedGuest) async throws -> [UInt8] {
        try await during("taking in the device state") {
            try await guest.expectation.state().withUnsafeReadableBytes { ScreenPages.settled($0) }
        }
    }

    /// Gives up a stop that failed: the guest runs again, unless it has shut itself down, and its state is not expected
    /// any more. Also in a cancelled task; and what fails here is the end of QEMU, which is noted elsewhere.
    package nonisolated(nonsending) func letRunAgain(_ guest: StoppedGuest) async {
        forget(guest)
        guard !guest.stop.hasShutDown else { return }
        _ = await Task { try await self.resume() }.result
    }

    /// Lets the guest run. Just after its state was saved QEMU may need a moment before it can; it may be over by the time
    /// that we ask what refused us.
    package nonisolated(nonsending) func resume() async throws {
        try await translating("continuing the guest") { () async throws -> Void in
            let deadline = ContinuousClock.now + Self.answerLimit
            while true {
                do {
                    _ = try await qmp.execute(QMPContinue(), timeout: Self.answerLimit)
                    return
                } catch let error as QMPError {
                    guard case .refused = error, ContinuousClock.now < deadline else { throw error }
                    let status = try await qmp.execute(QMPQueryStatus()).status
                    guard status == .finishMigrate || status == .postMigrate else { throw error }
                    try await Task.sleep(for: .microseconds(100))
                }
            }
        }
    }

    private nonisolated(nonsending) func words(for error: any Error) async -> any Error {
        error is GuestStop.Ended ? await migrationFailure() : error
    }

    /// Runs `body` and puts its failure into words.
    private nonisolated(nonsending) func translating<Result>(
        _ action: String, _ body: nonisolated(nonsending) () async throws -> Result
    ) async throws -> Result {
        do {
            return try await body()
        } catch {
            throw translated(error, during: action)
        }
    }
}
