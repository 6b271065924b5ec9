import GRDB
import VMSyncCore

extension SQLiteMetadataStore {
    package func invite(_ code: ContentHash, lifetime: Duration) async throws -> Timestamp {
        try await write { [clock] db in
            let now = clock()
            let expires = now + lifetime
            try db.execute(sql: "DELETE FROM invitation WHERE expires <= ?", arguments: [now.rawValue])
            try db.execute(
                sql: "INSERT INTO invitation (code, expires) VALUES (?, ?)",
                arguments: [code.rawValue, expires.rawValue])
            return expires
        }
    }

    package func join(
        _ device: DeviceID, name: String, platform: String, token: ContentHash, invitation: ContentHash
    ) async throws -> StoredDevice {
        try await write { [clock] db in
            let now = clock()
            try Self.checkInvitation(invitation, at: now, db)
            try Self.checkName(name, db)
            try db.execute(
                sql: "INSERT INTO device (id, name, platform, token, joined, last_seen) VALUES (?, ?, ?, ?, ?, ?)",
                arguments: [device.rawValue, name, platform, token.rawValue, now.rawValue, now.rawValue])
            try db.execute(
                sql: "UPDATE invitation SET used_by = ? WHERE code = ?",
                arguments: [device.rawValue, invitation.rawValue])
            return StoredDevice(
                id: device, name: name, platform: platform, capabilities: nil, joined: now, lastSeen: now)
        }
    }

    private static func checkInvitation(_ code: ContentHash, at now: Timestamp, _ db: Database) throws {
        let row = try Row.fetchOne(
            db, sql: "SELECT expires, used_by FROM invitation WHERE code = ?", arguments: [code.rawValue])
        let hint = "on the server or a joined device: vmsync server invite"
        guard let row else { throw VMSyncError(.unauthorized, "there is no such invitation", hint: hint) }
        guard row["used_by"] == nil as String? else {
            throw VMSyncError(.unauthorized, "the invitation was already used", hint: hint)
        }
        guard now < row.timestamp("expires") else {
            throw VMSyncError(.unauthorized, "the invitation has expired", hint: hint)
        }
    }

    private static func checkName(_ name: String, _ db: Database) throws {
        let taken = try Bool.fetchOne(
            db, sql: "SELECT EXISTS (SELECT 1 FROM device WHERE name = ?)", arguments: [name])
        guard taken != true else {
            throw VMSyncError(.alreadyExists, "there is already a device \"\(name)\"", hint: "join with another --name")
        }
    }

    package func device(token: ContentHash) async throws -> DeviceID? {
        try await read { db in
            let row = try Row.fetchOne(db, sql: "SELECT id FROM device WHERE token = ?", arguments: [token.rawValue])
            return try row?.checked("id")
        }
    }

    package func devices() async throws -> [StoredDevice] {
        try await read { db in
            try Row.fetchAll(db, sql: "SELECT * FROM device ORDER BY number").map(StoredDevice.init(row:))
        }
    }

    package func setCapabilities(_ json: String, of device: DeviceID) async throws {
        try await write { db in
            try db.execute(
                sql: "UPDATE device SET capabilities = ? WHERE id = ?", arguments: [json, device.rawValue])
            guard db.changesCount == 1 else { throw VMSyncError(.notFound, "there is no device \(device)") }
        }
    }

    package func seen(_ device: DeviceID) async throws {
        try await write { [clock] db in
            try db.execute(
                sql: "UPDATE device SET last_seen = ? WHERE id = ?",
                arguments: [clock().rawValue, device.rawValue])
        }
    }
}
