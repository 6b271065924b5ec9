import VMSyncCore

/// A row of an answer, whose values are looked at by the names of their columns. What can't be what this program wrote is
/// `corrupt`.
struct SQLRow {
    /// The value in a column; nil if there is no such column.
    private let value: (String) -> SQLValue?

    init(_ value: @escaping (String) -> SQLValue?) { self.value = value }

    func text(_ column: String) throws(VMSyncError) -> String {
        guard case .text(let text) = value(column) else { throw Self.damaged(column) }
        return text
    }

    /// Nil for NULL.
    func textIfPresent(_ column: String) throws(VMSyncError) -> String? {
        isNull(column) ? nil : try text(column)
    }

    /// A text with a form of its own, such as an id.
    func checked<Value: RawRepresentable<String>>(
        _ column: String, as type: Value.Type = Value.self
    ) throws(VMSyncError) -> Value {
        guard let value = Value(rawValue: try text(column)) else { throw Self.damaged(column) }
        return value
    }

    /// The same, nil for NULL.
    func checkedIfPresent<Value: RawRepresentable<String>>(_ column: String) throws(VMSyncError) -> Value? {
        isNull(column) ? nil : try checked(column)
    }

    func bytes(_ column: String) throws(VMSyncError) -> [UInt8] {
        guard case .bytes(let bytes) = value(column) else { throw Self.damaged(column) }
        return bytes
    }

    func bytesIfPresent(_ column: String) throws(VMSyncError) -> [UInt8]? {
        isNull(column) ? nil : try bytes(column)
    }

    func integer(_ column: String) throws(VMSyncError) -> Int64 {
        guard case .integer(let number) = value(column) else { throw Self.damaged(column) }
        return number
    }

    func unsigned(_ column: String) throws(VMSyncError) -> UInt64 {
        guard let number = UInt64(exactly: try integer(column)) else { throw Self.damaged(column) }
        return number
    }

    func timestamp(_ column: String) throws(VMSyncError) -> Timestamp {
        Timestamp(rawValue: try integer(column))
    }

    func isNull(_ column: String) -> Bool { value(column) == .null }

    static func damaged(_ column: String) -> VMSyncError {
        VMSyncError(.corrupt, "the database holds an impossible \(column)", hint: "restore it from a backup")
    }
}
