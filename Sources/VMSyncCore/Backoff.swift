/// The pause before something is tried again: twice as long each time, with jitter so that many who lost the same server
/// don't all come back at once.
package struct Backoff: Sendable {
    private let first: Duration
    private let longest: Duration

    package init(first: Duration = .milliseconds(100), longest: Duration = .seconds(5)) {
        self.first = first
        self.longest = longest
    }

    /// The pause before attempt `attempt`, counted from 1: never shorter than the first, nor longer than the longest.
    package func pause(attempt: Int) -> Duration {
        // Twenty doublings reach any longest.
        let full = min(first * (1 << min(max(attempt, 1) - 1, 20)), longest)
        return max(first, full * Double.random(in: 0.5...1))
    }

    package func sleep(attempt: Int) async throws { try await Task.sleep(for: pause(attempt: attempt)) }
}
