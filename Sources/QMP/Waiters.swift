import NIOCore
import Synchronization

/// The commands in flight, by id. Every waiter that was added is resumed exactly once: by its answer, its timeout, its
/// task's cancellation, or the end of the connection.
final class Waiters: Sendable {
    /// What the answer to a command has to look like.
    struct Expectation: Sendable {
        let command: String
        let response: any (Decodable & Sendable).Type
    }

    private struct Waiter {
        let expectation: Expectation
        let continuation: CheckedContinuation<any Sendable, any Error>
        var timer: Scheduled<Void>?
    }

    private struct State {
        var waiting: [UInt64: Waiter] = [:]
        var end: QMPError?
    }

    private let state = Mutex(State())
    private let lastID = Atomic<UInt64>(0)

    /// Why the connection ended; nil while it lives.
    var end: QMPError? { state.withLock { $0.end } }

    /// An id that no other command of this connection has.
    func nextID() -> UInt64 {
        lastID.wrappingAdd(1, ordering: .relaxed).newValue
    }

    /// Puts a command among those that wait, or resumes it at once with the reason why it can't.
    func add(
        _ id: UInt64, _ expectation: Expectation, _ continuation: CheckedContinuation<any Sendable, any Error>
    ) {
        let refusal: QMPError? = state.withLock { state in
            if let end = state.end { return end }
            guard state.waiting.count < QMPLimits.pendingMax else { return .busy(command: expectation.command) }
            state.waiting[id] = Waiter(expectation: expectation, continuation: continuation)
            return nil
        }
        if let refusal { continuation.resume(throwing: refusal) }
    }

    /// Gives a waiting command its timer.
    /// - Returns: false if the command no longer waits; the caller then drops the timer.
    func setTimer(_ timer: Scheduled<Void>, of id: UInt64) -> Bool {
        state.withLock { state in
            guard state.waiting[id] != nil else { return false }
            state.waiting[id]?.timer = timer
            return true
        }
    }

    func expectation(of id: UInt64) -> Expectation? {
        state.withLock { $0.waiting[id]?.expectation }
    }

    /// Resumes the command, if it still waits.
    func settle(_ id: UInt64, _ result: Result<any Sendable, any Error>) {
        let waiter = state.withLock { $0.waiting.removeValue(forKey: id) }
        waiter?.timer?.cancel()
        waiter?.continuation.resume(with: result)
    }

    /// Resumes all with `error`, as every later `add` will be. Only the first end counts.
    /// - Returns: whether this was the first.
    @discardableResult
    func finish(_ error: QMPError) -> Bool {
        let (isFirst, waiting) = state.withLock { state in
            guard state.end == nil else { return (false, [Waiter]()) }
            state.end = error
            defer { state.waiting = [:] }
            return (true, Array(state.waiting.values))
        }
        for waiter in waiting {
            waiter.timer?.cancel()
            waiter.continuation.resume(throwing: error)
        }
        return isFirst
    }
}
