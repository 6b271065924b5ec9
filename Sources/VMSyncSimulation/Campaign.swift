/// Many histories, one after the other, and what came of them.
package struct Campaign: Sendable {
    /// A history in which an invariant did not hold.
    package struct Failure: Sendable {
        package let seed: UInt64
        package let violation: Violation
    }

    package let canary: Canary?
    package private(set) var histories = 0
    package private(set) var steps = 0
    package private(set) var faults = FaultCounts()
    /// Of the lowest seed among those that failed.
    package private(set) var failure: Failure?

    package init(canary: Canary? = nil) { self.canary = canary }

    /// Lets the history of `seed` happen.
    /// - Returns: whether all invariants held.
    @discardableResult
    package mutating func run(_ seed: UInt64) -> Bool {
        var world = World(seed: seed, canary: canary)
        let violation: Violation?
        do throws(Violation) {
            try world.run()
            violation = nil
        } catch {
            violation = error
        }
        histories += 1
        steps += world.steps
        faults.add(world.faults)
        if let violation { note(Failure(seed: seed, violation: violation)) }
        return violation == nil
    }

    private mutating func note(_ found: Failure) {
        if let failure, failure.seed < found.seed { return }
        failure = found
    }

    /// Adds what another thread has done.
    package mutating func add(_ other: Campaign) {
        histories += other.histories
        steps += other.steps
        faults.add(other.faults)
        if let found = other.failure { note(found) }
    }
}
