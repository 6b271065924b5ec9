import VMSyncCore

/// A value in a database of either kind.
enum SQLValue: Sendable, Hashable {
    case null
    case integer(Int64)
    case text(String)
    case bytes([UInt8])

    init(_ value: some RawRepresentable<String>) { self = .text(value.rawValue) }

    init(_ value: (some RawRepresentable<String>)?) { self = value.map { .text($0.rawValue) } ?? .null }

    init(_ time: Timestamp) { self = .integer(time.rawValue) }

    /// Databases' integers are signed; ours aren't.
    /// - Throws: `invalidInput` above 2^63 - 1, which no counter of ours reaches.
    init(_ number: UInt64) throws(VMSyncError) {
        guard let signed = Int64(exactly: number) else {
            throw VMSyncError(.invalidInput, "\(number) is too large a number")
        }
        self = .integer(signed)
    }

    init(_ sequence: Sequence) throws(VMSyncError) { try self.init(sequence.rawValue) }

    init(_ epoch: Epoch) throws(VMSyncError) { try self.init(epoch.rawValue) }
}
