import Synchronization
import VMSyncCore

/// A number of permits, handed out in the order in which they are asked for.
final class Permits: Sendable {
    private struct State {
        var free: Int
        var waiters: [(number: UInt64, continuation: CheckedContinuation<Void, any Error>)] = []
        var next: UInt64 = 0
    }
    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(free: max(1, count))) }

    /// Runs `body` with a permit.
    /// - Throws: `cancelled` if the task is cancelled while it waits for one; what `body` throws.
    func with<Answer: Sendable>(_ body: () async throws -> Answer) async throws -> Answer {
        try await take()
        defer { giveBack() }
        return try await body()
    }

    private func take() async throws {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in wait(number, continuation) }
        } onCancel: {
            cancel(number)
        }
    }

    private func wait(_ number: UInt64, _ continuation: CheckedContinuation<Void, any Error>) {
        let outcome: Result<Void, any Error>? = state.withLock { state in
            // A task that is cancelled before it waits finds so here: `cancel` comes after the flag is set.
            guard !Task.isCancelled else { return .failure(VMSyncError(.cancelled, "cancelled")) }
            guard state.free == 0 else {
                state.free -= 1
                return .success(())
            }
            state.waiters.append((number, continuation))
            return nil
        }
        if let outcome { continuation.resume(with: outcome) }
    }

    private func cancel(_ number: UInt64) {
        let waiter = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            let index = state.waiters.firstIndex { $0.number == number }
            return index.map { state.waiters.remove(at: $0).continuation }
        }
        waiter?.resume(throwing: VMSyncError(.cancelled, "cancelled"))
    }

    private func giveBack() {
        let next = state.withLock { state -> CheckedContinuation<Void, any Error>? in
            guard !state.waiters.isEmpty else {
                state.free += 1
                return nil
            }
            return state.waiters.removeFirst().continuation
        }
        next?.resume()
    }
}
