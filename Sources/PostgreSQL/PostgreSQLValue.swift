import CPostgreSQL

/// A value of a statement or of a row.
package enum PostgreSQLValue: Sendable, Hashable {
    case null
    /// `bigint`.
    case integer(Int64)
    /// `text`; holds no NUL.
    case text(String)
    /// `bytea`.
    case bytes([UInt8])
}

/// The types that are spoken, by their numbers in `pg_type`, which never change.
enum TypeNumber {
    static let bool: Oid = 16
    static let bytea: Oid = 17
    static let name: Oid = 19
    static let int8: Oid = 20
    static let int4: Oid = 23
    static let text: Oid = 25
    static let void: Oid = 2278
}

extension PostgreSQLValue {
    /// 0 leaves the type of a NULL to the server.
    var type: Oid {
        switch self {
        case .null: 0
        case .integer: TypeNumber.int8
        case .text: TypeNumber.text
        case .bytes: TypeNumber.bytea
        }
    }

    /// In PostgreSQL's binary form.
    /// - Throws: `value` for a text with a NUL, at which libpq would cut it.
    func encoded() throws(PostgreSQLError) -> [UInt8] {
        switch self {
        case .null: return []
        case .integer(let number): return withUnsafeBytes(of: number.bigEndian) { Array($0) }
        case .bytes(let bytes): return bytes
        case .text(let text):
            guard !text.utf8.contains(0) else { throw PostgreSQLError(.value, "a text can't hold a NUL") }
            return Array(text.utf8)
        }
    }

    /// A value of a row, from its binary form.
    /// - Throws: `value` for a type that isn't spoken.
    init(_ bytes: UnsafeRawBufferPointer, of type: Oid) throws(PostgreSQLError) {
        switch (type, bytes.count) {
        case (TypeNumber.int8, 8): self = .integer(Int64(bigEndian: bytes.loadUnaligned(as: Int64.self)))
        case (TypeNumber.int4, 4): self = .integer(Int64(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self))))
        case (TypeNumber.bool, 1): self = .integer(bytes[0] == 0 ? 0 : 1)
        case (TypeNumber.text, _), (TypeNumber.name, _): self = .text(String(decoding: bytes, as: UTF8.self))
        case (TypeNumber.bytea, _): self = .bytes(Array(bytes))
        case (TypeNumber.void, _): self = .null
        default: throw PostgreSQLError(.value, "\(bytes.count) bytes of type \(type) aren't understood")
        }
    }
}
