/// Why a connection to a screen, or a request on it, failed.
package enum RFBError: Error, Sendable, Equatable {
    /// There is no connection, or it ended.
    case closed(reason: String)
    /// The peer did not answer in time.
    case timedOut(String)
    /// The peer sent what isn't RFB, or what was not asked for.
    case malformed(String)
    /// The peer wants a password or a protocol that this client doesn't have.
    case refused(String)
}

extension RFBError: CustomStringConvertible {
    /// One sentence for a log or a person.
    package var description: String {
        switch self {
        case .closed(let reason): "no connection to the screen: \(reason)"
        case .timedOut(let what): "the screen did not answer \(what) in time"
        case .malformed(let text): "the screen sent what is not RFB: \(text)"
        case .refused(let text): "the screen refused: \(text)"
        }
    }
}
