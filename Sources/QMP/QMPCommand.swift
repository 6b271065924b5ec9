/// One command of QMP. Its stored properties, as encoded to JSON, are the command's `arguments`.
///
/// Commands and their members are specified in QEMU's "QMP Reference Manual".
package protocol QMPCommand: Encodable, Sendable {
    /// The `return` value of a successful answer.
    associatedtype Response: Decodable & Sendable = QMPNothing

    /// The name on the wire, such as `query-status`.
    static var name: String { get }
}

/// The response of a command that returns nothing of interest; any JSON value is accepted.
package struct QMPNothing: Decodable, Sendable {
    /// Takes whatever is there.
    package init(from decoder: any Decoder) {}
}
