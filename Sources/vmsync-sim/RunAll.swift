import Foundation
import Synchronization
import VMSyncSimulation

extension VMSyncSim {
    /// What the threads have in common.
    private final class Shared: Sendable {
        struct State {
            var next: UInt64
            var total: Campaign
            var isFailed = false
        }
        let state: Mutex<State>

        init(from: UInt64, canary: Canary?) { state = Mutex(State(next: from, total: Campaign(canary: canary))) }
    }

    /// Seeds that a thread takes at once: so few that all end together.
    private static let share: UInt64 = 64
    /// The first sign of progress comes after so long, and then one each second.
    private static let quiet = Duration.seconds(2)

    /// Runs the histories on all threads, until all are done or one has failed.
    func runAll() -> Campaign {
        let shared = Shared(from: from, canary: canary)
        let done = DispatchGroup()
        for _ in 0..<threads {
            done.enter()
            Thread {
                runShares(of: shared)
                done.leave()
            }.start()
        }
        showProgress(of: shared, until: done)
        return shared.state.withLock { $0.total }
    }

    private func runShares(of shared: Shared) {
        while let seeds = take(from: shared) {
            var campaign = Campaign(canary: canary)
            for seed in seeds where !campaign.run(seed) { break }
            shared.state.withLock { state in
                state.total.add(campaign)
                if campaign.failure != nil { state.isFailed = true }
            }
        }
    }

    /// The next seeds; nil at the end, and when a history has failed: the lower seeds are all being run then.
    private func take(from shared: Shared) -> Range<UInt64>? {
        shared.state.withLock { state in
            guard !state.isFailed, state.next < from + seeds else { return nil }
            let first = state.next
            state.next = min(first + Self.share, from + seeds)
            return first..<state.next
        }
    }

    private func showProgress(of shared: Shared, until done: DispatchGroup) {
        let start = ContinuousClock.now
        while done.wait(timeout: .now() + .seconds(1)) == .timedOut {
            let took = ContinuousClock.now - start
            guard took > Self.quiet else { continue }
            let histories = shared.state.withLock { $0.total.histories }
            let rate = Double(histories) / took.inSeconds
            let left = rate > 0 ? Double(seeds) / rate - took.inSeconds : 0
            let line = "\(histories) of \(seeds), \(Int(rate)) a second, \(Int(left)) s left\n"
            FileHandle.standardError.write(Data(line.utf8))
        }
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}
