/// The pause before something is tried again: twice as long each time, with jitter so that devices which lost the same
/// server don't all come back at once.
enum Backoff {
    private static let first: Duration = .milliseconds(100)
    private static let longest: Duration = .seconds(5)

    /// The pause before attempt `attempt`, counted from 1: between 0.1 and 5 s.
    static func pause(attempt: Int) -> Duration {
        // Six doublings reach the longest.
        let full = min(first * (1 << min(max(attempt, 1) - 1, 6)), longest)
        return max(first, full * Double.random(in: 0.5...1))
    }

    static func sleep(attempt: Int) async throws { try await Task.sleep(for: pause(attempt: attempt)) }
}
