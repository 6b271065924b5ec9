import Foundation
import HostSignals
import Logging
import Synchronization

/// A watch that runs while a test does, and what it has told.
final class Watched: Sendable {
    let watch: HostWatch
    private let told = Mutex<[HostEvent]>([])
    private let sleepsTold = Atomic(0)

    struct TimedOut: Error, CustomStringConvertible {
        let description: String
    }

    /// Far more than anything here takes.
    private static let patience = Duration.seconds(20)

    private init(_ watch: HostWatch) { self.watch = watch }

    static func with(
        paths: HostPaths = .system, bus: String,
        clocks: @escaping @Sendable () -> HostClocks = HostClocks.now, _ body: (Watched) async throws -> Void
    ) async throws {
        let watch = HostWatch(
            inhibitor: Inhibitor(who: "a test", why: "it watches"), paths: paths, busAddress: bus, clocks: clocks,
            logger: Logger(label: "test"))
        let watched = Watched(watch)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await watch.run() }
            group.addTask { for await event in watch.events { watched.note(event) } }
            try await body(watched)
            group.cancelAll()
        }
    }

    private func note(_ event: HostEvent) {
        if case .willSleep = event { sleepsTold.add(1, ordering: .relaxed) }
        told.withLock { $0.append(event) }
    }

    /// How often a sleep was told.
    var sleeps: Int { sleepsTold.load(ordering: .relaxed) }

    /// Waits until `look` finds something.
    func wait<Found>(for what: String, _ look: () async throws -> Found?) async throws -> Found {
        let end = ContinuousClock.now + Self.patience
        while ContinuousClock.now < end {
            if let found = try await look() { return found }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw TimedOut(description: "waited for \(what); told was \(told.withLock { "\($0)" })")
    }

    /// Waits for the next event that `choose` takes; those before it are dropped.
    func next<Found: Sendable>(_ what: String, _ choose: @Sendable (HostEvent) -> Found?) async throws -> Found {
        try await wait(for: what) {
            told.withLock { told in
                while !told.isEmpty {
                    if let found = choose(told.removeFirst()) { return found }
                }
                return nil
            }
        }
    }

    func nextSleep() async throws -> SleepDelay {
        try await next("a sleep") { if case .willSleep(let delay) = $0 { delay } else { nil } }
    }

    func nextWaking() async throws -> Duration {
        try await next("a waking") { if case .woke(let slept) = $0 { slept } else { nil } }
    }

    func nextChange() async throws { try await next("a change") { if case .changed = $0 { () } else { nil } } }

    /// Waits until the host would wait for us.
    func delayIsTaken() async throws -> Duration {
        try await wait(for: "the lock") { await watch.current().sleepDelay.value }
    }

    /// Waits until it would not, and says why.
    func delayIsLost() async throws -> String {
        try await wait(for: "the loss of the lock") { await watch.current().sleepDelay.whyUnknown }
    }

    /// What was told and not taken yet, but for changes.
    var untaken: [HostEvent] {
        told.withLock { told in told.filter { if case .changed = $0 { false } else { true } } }
    }
}
