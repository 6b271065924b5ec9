import VMSyncCore

/// A checkpoint that is sealed on this device and not acknowledged by the server.
package protocol WaitingCheckpoint {
    var sequence: Sequence { get }
    /// The checkpoint that its pack is relative to.
    var parent: Sequence { get }
    /// Units that the pack changes.
    var units: Int { get }
    /// Whether it may not become part of a later one: another device stands at this state, or perhaps the server.
    var mustStay: Bool { get }
}

/// Which of the checkpoints that lie in an outbox wait there, and which two of them become one.
package enum OutboxOrder {
    /// So many wait at most, however long the server is away: the oldest, which may have reached it and so stays as it is,
    /// and all others in one. One more for each at which another device stands, or perhaps the server.
    package static func settledMax(of waiting: some Collection<some WaitingCheckpoint>) -> Int {
        usualMax + waiting.dropFirst().dropLast().count { $0.mustStay }
    }
    package static let usualMax = 2
    /// So many lie with a device to which they were sent directly before it merges them: more than a switch sends.
    package static let sharedMax = 12

    /// Those of `sealed` that wait, oldest first: each follows the one before. Left out is what a merge has swallowed that
    /// was killed before it removed it.
    /// - Parameter sealed: oldest first.
    package static func waiting<Checkpoint: WaitingCheckpoint>(_ sealed: [Checkpoint]) -> [Checkpoint] {
        var waiting: [Checkpoint] = []
        waiting.reserveCapacity(sealed.count)
        for checkpoint in sealed {
            while let last = waiting.last, last.sequence > checkpoint.parent { waiting.removeLast() }
            waiting.append(checkpoint)
        }
        return waiting
    }

    /// The newest two that are to be made one, and the one before them; nil if few enough wait.
    package static func nextMerge<Checkpoint: WaitingCheckpoint>(
        of waiting: [Checkpoint]
    ) -> (before: Checkpoint, earlier: Checkpoint, later: Checkpoint)? {
        let last = waiting.indices.dropFirst(2).last { !waiting[$0 - 1].mustStay }
        return last.map { (waiting[$0 - 2], waiting[$0 - 1], waiting[$0]) }
    }

    /// Whether the two may be made one.
    /// - Parameter unitsMax: merging unpacks both in memory.
    package static func mayMerge<Checkpoint: WaitingCheckpoint>(
        _ earlier: Checkpoint, _ later: Checkpoint, unitsMax: Int
    ) -> Bool {
        earlier.units + later.units <= unitsMax
    }
}
