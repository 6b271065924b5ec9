/// Why something could not be done in a PostgreSQL database.
package struct PostgreSQLError: Error, Sendable, CustomStringConvertible {
    package enum Kind: Sendable, Hashable {
        /// No connection, or it broke; nothing happened.
        case lost
        /// It broke while a commit was under way: it may have happened.
        case outcomeUnknown
        /// The server refused a statement, with this SQLSTATE.
        case refused(state: String)
        /// A value that can't be sent, or one of another type than was asked for.
        case value
    }

    package let kind: Kind
    /// In the server's or libpq's words, on one line.
    package let message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message.split(whereSeparator: \.isNewline).joined(separator: "; ")
    }

    package var description: String {
        guard case .refused(let state) = kind else { return message }
        return "\(message) (\(state))"
    }

    /// Two transactions met, and this one gave way. (PostgreSQL, "Transaction Isolation" and "Deadlocks")
    var isWorthRepeating: Bool { kind == .refused(state: "40001") || kind == .refused(state: "40P01") }
}
