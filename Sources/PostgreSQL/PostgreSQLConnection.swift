import CPostgreSQL

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// One connection. It blocks, and belongs to whoever holds it.
final class PostgreSQLConnection {
    private let handle: OpaquePointer

    /// What a URL doesn't say. libpq waits without end for most of it.
    private static let standards: [(String, String)] = [
        ("application_name", "vmsync"),
        // Seconds: a server that is away is noticed while a person still waits.
        ("connect_timeout", "5"),
        // Milliseconds without an answer to what was sent, after which a connection is dead.
        ("tcp_user_timeout", "15000"),
        ("keepalives_idle", "30"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
    ]
    /// Milliseconds: well above the slowest honest statement, below a client's patience.
    private static let session = "SET statement_timeout = 30000; SET idle_in_transaction_session_timeout = 60000"

    /// - Throws: `lost` with libpq's words if there is no connection.
    init(url: String) throws(PostgreSQLError) {
        // Of two that say the same the later counts, so what stands in the URL does.
        let parameters = Self.standards + [("dbname", url)]
        let handle = Self.connect(parameters)
        guard let handle else { throw PostgreSQLError(.lost, "no memory for a connection") }
        self.handle = handle
        guard PQstatus(handle) == CONNECTION_OK else {
            throw PostgreSQLError(.lost, String(cString: PQerrorMessage(handle)))
        }
        // Else what the server has to remark is printed to standard error.
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        try command(Self.session)
    }

    deinit { PQfinish(handle) }

    private static func connect(_ parameters: [(String, String)]) -> OpaquePointer? {
        let keywords = parameters.map { strdup($0.0) }
        let values = parameters.map { strdup($0.1) }
        defer { for pointer in keywords + values { free(pointer) } }
        return PQconnectdbParams(
            keywords.map { UnsafePointer($0) } + [nil], values.map { UnsafePointer($0) } + [nil], 1)
    }

    var isAlive: Bool { PQstatus(handle) == CONNECTION_OK }

    /// Whether it is between two transactions.
    var isIdle: Bool { PQtransactionStatus(handle) == PQTRANS_IDLE }

    /// Statements without values or answer, separated by semicolons.
    func command(_ sql: String) throws(PostgreSQLError) {
        let result = PQexec(handle, sql)
        defer { PQclear(result) }
        try check(result)
    }

    /// One statement, its values named `$1`, `$2`, …
    func run(_ sql: String, _ values: [PostgreSQLValue]) throws(PostgreSQLError) -> [PostgreSQLRow] {
        let parameters = try Parameters(values)
        let result = parameters.withPointers { pointers, lengths, formats in
            PQexecParams(
                handle, sql, Int32(values.count), parameters.types, pointers, lengths, formats, Self.binary)
        }
        defer { PQclear(result) }
        try check(result)
        return try Self.rows(of: result)
    }

    fileprivate static let binary: Int32 = 1

    private func check(_ result: OpaquePointer?) throws(PostgreSQLError) {
        let status = PQresultStatus(result)
        if status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY { return }
        // A connection that broke has no SQLSTATE.
        guard isAlive, let state = PQresultErrorField(result, Int32(UInt8(ascii: "C"))) else {
            throw PostgreSQLError(.lost, String(cString: PQerrorMessage(handle)))
        }
        let words = PQresultErrorField(result, Int32(UInt8(ascii: "M"))).map { String(cString: $0) }
        throw PostgreSQLError(.refused(state: String(cString: state)), words ?? "a statement failed")
    }

    private static func rows(of result: OpaquePointer?) throws(PostgreSQLError) -> [PostgreSQLRow] {
        let columns = (0..<PQnfields(result)).map { String(cString: PQfname(result, $0)) }
        let places = Dictionary(columns.enumerated().map { ($0.element, $0.offset) }) { first, _ in first }
        var rows: [PostgreSQLRow] = []
        for row in 0..<PQntuples(result) {
            var values: [PostgreSQLValue] = []
            for column in 0..<PQnfields(result) { values.append(try value(result, row, column)) }
            rows.append(PostgreSQLRow(columns: places, values: values))
        }
        return rows
    }

    private static func value(
        _ result: OpaquePointer?, _ row: Int32, _ column: Int32
    ) throws(PostgreSQLError) -> PostgreSQLValue {
        guard PQgetisnull(result, row, column) == 0 else { return .null }
        let bytes = UnsafeRawBufferPointer(
            start: PQgetvalue(result, row, column), count: Int(PQgetlength(result, row, column)))
        return try PostgreSQLValue(bytes, of: PQftype(result, column))
    }

    // MARK: Notifications

    /// What has been notified so far, without waiting: channel and text.
    /// - Throws: `lost`.
    func notifications() throws(PostgreSQLError) -> [(channel: String, text: String)] {
        guard PQconsumeInput(handle) == 1 else {
            throw PostgreSQLError(.lost, String(cString: PQerrorMessage(handle)))
        }
        var found: [(channel: String, text: String)] = []
        while let notice = PQnotifies(handle) {
            found.append((String(cString: notice.pointee.relname), String(cString: notice.pointee.extra)))
            PQfreemem(notice)
        }
        return found
    }

    /// To wait for input.
    var socket: Int32 { PQsocket(handle) }
}

/// The values of a statement in the form that libpq takes.
private struct Parameters {
    let types: [Oid]
    private let isNull: [Bool]
    /// All values, one behind the other, and a byte more, so that an empty one has an address too.
    private let bytes: [UInt8]
    private let offsets: [Int]
    private let lengths: [Int32]

    init(_ values: [PostgreSQLValue]) throws(PostgreSQLError) {
        var (bytes, offsets, lengths): ([UInt8], [Int], [Int32]) = ([], [], [])
        for value in values {
            let encoded = try value.encoded()
            guard let length = Int32(exactly: encoded.count) else {
                throw PostgreSQLError(.value, "\(encoded.count) bytes are too many for one value")
            }
            offsets.append(bytes.count)
            lengths.append(length)
            bytes += encoded
        }
        types = values.map(\.type)
        isNull = values.map { $0 == .null }
        self.bytes = bytes + [0]
        self.offsets = offsets
        self.lengths = lengths
    }

    func withPointers<Answer>(
        _ body: (UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<Int32>, UnsafePointer<Int32>) -> Answer
    ) -> Answer {
        let formats = [Int32](repeating: PostgreSQLConnection.binary, count: offsets.count)
        return bytes.withUnsafeBytes { bytes in
            let pointers = offsets.indices.map { index in
                isNull[index]
                    ? nil : bytes.baseAddress?.advanced(by: offsets[index]).assumingMemoryBound(to: CChar.self)
            }
            return body(pointers, lengths, formats)
        }
    }
}
