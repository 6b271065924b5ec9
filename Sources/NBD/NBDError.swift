/// The failures that a client can be told of. Raw values are those of the protocol, which are close to `errno`.
package enum NBDError: UInt32, Error, Sendable {
    case notPermitted = 1
    case io = 5
    case outOfMemory = 12
    case invalid = 22
    case noSpace = 28
    case tooLarge = 75
    case notSupported = 95
    case shuttingDown = 108
}

/// An error of another module that knows how a client should be told of it. Any other error is told as `io`.
package protocol NBDReportable: Error {
    /// The nearest failure that the protocol has a number for. Nil for no answer at all: the connection closes, and a client
    /// that connects again asks again.
    var nbdError: NBDError? { get }
}

extension NBDError: NBDReportable {
    package var nbdError: NBDError? { self }
}

/// A peer that breaks the protocol in a way after which the stream can't be followed: the connection is closed.
struct NBDViolation: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
