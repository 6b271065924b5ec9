import Foundation
import GRDB
import VMSyncCore
import VMSyncPolicy

/// A column whose content can't be what this program wrote.
private func damaged(_ column: String) -> VMSyncError {
    VMSyncError(.corrupt, "the database holds an impossible \(column)", hint: "restore it from a backup")
}

extension Row {
    /// A column of text with a form of its own, such as an id.
    func checked<Value: RawRepresentable<String>>(_ column: String, as type: Value.Type = Value.self) throws -> Value {
        let text: String = self[column]
        guard let value = Value(rawValue: text) else { throw damaged(column) }
        return value
    }

    /// The same, nil for NULL.
    func checkedIfPresent<Value: RawRepresentable<String>>(_ column: String) throws -> Value? {
        let text: String? = self[column]
        return text == nil ? nil : try checked(column)
    }

    /// SQLite's integers are signed; ours aren't.
    func unsigned(_ column: String) throws -> UInt64 {
        let number: Int64 = self[column]
        guard let value = UInt64(exactly: number) else { throw damaged(column) }
        return value
    }

    func timestamp(_ column: String) -> Timestamp { Timestamp(rawValue: self[column]) }
}

/// `value` as SQLite stores it.
/// - Throws: `invalidInput` above 2^63 - 1, which no counter of ours reaches.
func integer(_ value: UInt64) throws -> Int64 {
    guard let number = Int64(exactly: value) else {
        throw VMSyncError(.invalidInput, "\(value) is too large a number")
    }
    return number
}

extension CheckpointRecord {
    init(row: Row) throws {
        self.init(
            sequence: Sequence(rawValue: try row.unsigned("sequence")),
            epoch: Epoch(rawValue: try row.unsigned("epoch")),
            device: try row.checked("device"), kind: try row.checked("kind"), size: try row.unsigned("size"),
            checksum: try row.checked("checksum"), digest: row["digest"], created: row.timestamp("created"))
    }
}

extension StoredDevice {
    init(row: Row) throws {
        self.init(
            id: try row.checked("id"), name: row["name"], platform: row["platform"],
            capabilities: row["capabilities"], joined: row.timestamp("joined"), lastSeen: row.timestamp("last_seen"))
    }
}

extension SwitchRecord {
    init(json: String) throws {
        do {
            self = try JSONDecoder().decode(SwitchRecord.self, from: Data(json.utf8))
        } catch {
            throw damaged("switch")
        }
    }

    func json() throws -> String { String(decoding: try JSONEncoder().encode(self), as: UTF8.self) }
}
