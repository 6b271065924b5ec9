/// Why something could not be asked on the bus.
package struct BusError: Error, Sendable, Hashable, CustomStringConvertible {
    package enum Kind: Sendable, Hashable {
        /// There is no connection to the bus, or it broke meanwhile: what was asked may have been done.
        case notConnected
        /// No answer came in time.
        case timedOut
        /// The other side refused, with this error name.
        case refused(String)
        /// The answer has another form than was asked for.
        case malformed
    }

    package let kind: Kind
    /// On one line.
    package let message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message.split(whereSeparator: \.isNewline).joined(separator: "; ")
    }

    package var description: String { message }

    /// Nobody has the name that was asked: that service doesn't run.
    var isAbsent: Bool {
        kind == .refused("org.freedesktop.DBus.Error.ServiceUnknown")
            || kind == .refused("org.freedesktop.DBus.Error.NameHasNoOwner")
    }
}
