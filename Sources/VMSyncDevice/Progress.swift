import Synchronization
import VMSyncAPI
import VMSyncCore

/// How far a long step is, for whoever watches. Called from any task.
package typealias ProgressHandler = @Sendable (StepProgress) -> Void

/// Counts what is done and tells it, with rate and time left, at most ten times a second.
package final class ProgressMeter: Sendable {
    private static let interval = Duration.milliseconds(100)

    private struct State {
        var done: UInt64 = 0
        var told: ContinuousClock.Instant?
    }

    private let step: String
    private let total: UInt64
    private let handler: ProgressHandler
    private let start = ContinuousClock.now
    private let state = Mutex(State())

    package init(_ step: String, total: UInt64, handler: @escaping ProgressHandler) {
        self.step = step
        self.total = total
        self.handler = handler
        handler(StepProgress(step: step, done: 0, total: total))
    }

    package func add(_ bytes: Int) {
        let now = ContinuousClock.now
        let progress: StepProgress? = state.withLock { state in
            state.done += UInt64(bytes)
            if let told = state.told, now - told < Self.interval, state.done < total { return nil }
            state.told = now
            let seconds = (now - start).seconds
            let rate = seconds > 0 ? Double(state.done) / seconds : 0
            let left = rate > 0 ? Double(total - min(total, state.done)) / rate : nil
            return StepProgress(step: step, done: state.done, total: total, bytesPerSecond: rate, secondsLeft: left)
        }
        if let progress { handler(progress) }
    }
}
