import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// One instant of a running guest, taken out of it: what a checkpoint is made of.
package struct LiveCapture {
    package let capture: Capture
    /// Of all devices, whole.
    package let deviceState: [UInt8]
    package internal(set) var pause: Pause

    /// A guest that stood still, in milliseconds.
    package struct Pause: Sendable {
        /// When it stopped, since 1970 by the host's clock.
        package var start = 0.0
        /// From its last instruction before to the first after, as QEMU saw it; to the end of the capture if the guest
        /// didn't go on.
        package var length = 0.0
        /// The parts by name. `scan` and `copy` lie beside `device_state`, the others one after the other:
        /// `stop` until the disks are at rest, `device_state` until QEMU has sent it, `continue` until the guest runs.
        package var parts: [String: Double] = [:]
    }
}

extension Replica {
    /// Stops the guest, takes out of it what is new since the last sealed checkpoint, and lets it run again: the whole
    /// pause, and nothing else in it.
    ///
    /// On failure the guest runs again if it may, and the capture is released.
    /// - Parameters:
    ///   - tracker: of the machine; nil if nothing follows its writes. It is armed anew, before the pause.
    ///   - trackerIsCurrent: whether it was armed at the last sealed checkpoint.
    ///   - thenResume: false leaves the guest stopped, as does a capture that may not run before it is sealed.
    ///   - mayRunAgain: false for a guest that was paused because it runs elsewhere.
    package nonisolated(nonsending) func captureLive(
        of machine: Machine, tracker: DirtyTracker?, trackerIsCurrent: Bool, thenResume: Bool,
        mayRunAgain: Bool = true
    ) async throws -> LiveCapture {
        try Fault.point("before-pause")
        try prepareCapture()
        let found = try findBeforePause(tracker, isCurrent: trackerIsCurrent)
        var early: [Range<Int>] = []
        if let tracker, trackerIsCurrent { early = try captureEarly(tracker) }
        let guest = try await machine.stopAndSave(mayRunAgain: mayRunAgain)
        do {
            try Fault.point(thenResume ? "paused" : "departure-paused")
            let capture = try capture(tracker: tracker, found: found, early: early)
            do {
                try await machine.waitUntilSaved(guest)
                try Fault.point(thenResume ? "captured" : "departure-captured")
                let captured = Self.milliseconds
                if thenResume, capture.mayRun { try await machine.resume() }
                let pause = LiveCapture.Pause(guest.times, capture, captured: captured)
                return LiveCapture(
                    capture: capture, deviceState: try await machine.deviceState(of: guest), pause: pause)
            } catch {
                capture.release()
                throw error
            }
        } catch {
            if mayRunAgain { await machine.letRunAgain(guest) } else { machine.forget(guest) }
            throw error
        }
    }

    /// Makes a checkpoint of what was captured, and lets a guest run that had to wait for that.
    package nonisolated(nonsending) func sealLive(
        _ live: inout LiveCapture, of machine: Machine, header: CheckpointHeader, thenResume: Bool
    ) async throws -> SealedCheckpoint {
        let waits = thenResume && !live.capture.mayRun
        // As fast as can be then, whatever the link would want: strongly compressed it would stand still for many seconds.
        if waits { planCompression(link: nil, interval: 0) }
        let sealed: SealedCheckpoint
        do {
            sealed = try seal(live.capture, deviceState: live.deviceState, header: header)
        } catch {
            if waits { try await machine.resume() }
            throw error
        }
        if waits {
            try await machine.resume()
            live.pause.length = Self.milliseconds - live.pause.start
            logger.notice(
                "the guest waited until its checkpoint was made: too much was written to be copied",
                metadata: ["pages": "\(live.capture.pages)", "ms": "\(Int(live.pause.length))"])
        }
        return sealed
    }

    private static var milliseconds: Double { Date().timeIntervalSince1970 * 1000 }

    /// A tracker that doesn't know what was written since the last checkpoint is armed now, and all memory is compared
    /// while the guest still runs. What differs then, or is written from now on, is all that can differ in the pause.
    private func findBeforePause(_ tracker: DirtyTracker?, isCurrent: Bool) throws(VMSyncError) -> [Range<Int>] {
        guard let tracker, !isCurrent else { return [] }
        try tracker.arm()
        return try changedPages()
    }
}

extension LiveCapture.Pause {
    /// - Parameter captured: when everything was captured, the state of the devices included.
    init(_ times: GuestStop.Times, _ capture: Capture, captured: Double) {
        let drained = times.drained ?? captured
        // A guest that stood still already, by an error of its disk, has not been stopped.
        start = times.stopped ?? drained
        let saved = times.saved ?? captured
        length = (times.resumed ?? captured) - start
        parts = [
            "stop": drained - start, "scan": capture.scan.milliseconds, "copy": capture.copy.milliseconds,
            "device_state": saved - drained,
        ]
        if let resumed = times.resumed { parts["continue"] = resumed - saved }
    }
}
