import Synchronization

/// Holds the host's sleep or shutdown back, for a short while: until it is released, nobody holds it any more, or the
/// time that logind grants is over. Then the kernel sleeps, whatever is still to be done.
package final class SleepDelay: Sendable {
    /// By when it must be released.
    private let deadline: ContinuousClock.Instant
    private let held: Mutex<Held>

    private enum Held {
        /// nil if logind gave us no lock: nothing waits for us.
        case open(OwnedDescriptor?)
        case released
    }

    /// - Parameter time: that logind grants, from now on.
    init(lock: OwnedDescriptor?, time: Duration) {
        held = Mutex(.open(lock))
        deadline = .now + time
    }

    /// Lets the host go on. Does nothing the second time.
    package func release() { held.withLock { $0 = .released } }

    /// Whether the host waits for us.
    package var isHeld: Bool {
        guard timeLeft > .zero else { return false }
        return held.withLock {
            guard case .open(let lock) = $0 else { return false }
            return lock != nil
        }
    }

    /// How long the host still waits, at most; zero if it is over. NetworkManager doesn't wait: the network is down at
    /// once.
    package var timeLeft: Duration { max(deadline - .now, .zero) }

    /// Holds a lock that came late; without use for it it is closed.
    func take(_ lock: OwnedDescriptor) {
        held.withLock {
            guard case .open(nil) = $0 else { return }
            $0 = .open(lock)
        }
    }
}
