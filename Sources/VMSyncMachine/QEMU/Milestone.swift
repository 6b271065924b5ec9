import Synchronization

/// Something that happens once, or fails, and one task that waits for it.
///
/// The task goes on where it was, without a detour over another executor; and it isn't woken by its cancellation: what it
/// waits for ends by itself, and a guest must not stay paused because its daemon is asked to end.
final class Milestone: Sendable {
    private enum State {
        case ahead(CheckedContinuation<Void, any Error>?)
        case over(Result<Void, any Error>)
    }

    private let state = Mutex(State.ahead(nil))

    /// Only the first call counts.
    func reach(_ result: Result<Void, any Error> = .success(())) {
        let waiting: CheckedContinuation<Void, any Error>? = state.withLock { state in
            guard case .ahead(let waiting) = state else { return nil }
            state = .over(result)
            return waiting
        }
        waiting?.resume(with: result)
    }

    /// To be awaited by one task at a time.
    nonisolated(nonsending) func wait() async throws {
        try await withCheckedThrowingContinuation { continuation in
            let result: Result<Void, any Error>? = state.withLock { state in
                if case .over(let result) = state { return result }
                state = .ahead(continuation)
                return nil
            }
            if let result { continuation.resume(with: result) }
        }
    }
}
