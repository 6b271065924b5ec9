/// A transaction that runs. Only good inside the body that was given it, on its thread.
package struct PostgreSQLTransaction {
    private let connection: PostgreSQLConnection

    init(_ connection: PostgreSQLConnection) { self.connection = connection }

    /// One statement, its values named `$1`, `$2`, … in `sql`.
    /// - Returns: the rows that it gives.
    @discardableResult
    package func run(_ sql: String, _ values: [PostgreSQLValue] = []) throws(PostgreSQLError) -> [PostgreSQLRow] {
        try connection.run(sql, values)
    }
}
