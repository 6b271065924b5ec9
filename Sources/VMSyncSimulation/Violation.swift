/// What must never be, or must come about, and did not.
package struct Violation: Error, Equatable, Sendable, CustomStringConvertible {
    package enum Invariant: String, Sendable, Codable, CaseIterable {
        /// Two guests run under one epoch; or two run though nobody forced the lease away from either.
        case oneRunning
        /// A checkpoint whose commit was answered is in the history, as it was.
        case nothingLost
        /// What the holder runs contains the head: it goes on from what was saved.
        case headIsContained
        /// Each checkpoint of the history contains the one before.
        case historyIsOneLine
        /// The state of a standby is that of a committed checkpoint.
        case standbyIsCommitted
        /// What a guest had done when the lease was taken from it is in a fork, or on its way there.
        case lateWorkIsKept
        /// Outbox, inbox, forks and nameless packs are few.
        case spaceIsBounded
        /// When nothing goes wrong any more, the VM can be run, switched and suspended, and all devices reach the head.
        case converges
    }

    package let invariant: Invariant
    /// What was found, with devices and numbers.
    package let detail: String

    package var description: String { "\(invariant.rawValue): \(detail)" }
}
