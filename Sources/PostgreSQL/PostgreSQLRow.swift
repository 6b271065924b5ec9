/// A row of an answer; its values by the names of their columns.
package struct PostgreSQLRow: Sendable {
    let columns: [String: Int]
    let values: [PostgreSQLValue]

    /// Nil if the answer has no such column.
    package subscript(_ column: String) -> PostgreSQLValue? { columns[column].map { values[$0] } }
}
