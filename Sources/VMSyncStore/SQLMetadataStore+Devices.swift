import VMSyncCore

extension SQLMetadataStore {
    package func membership(of device: DeviceID) async throws -> Membership? {
        try await engine.transaction(.read) { transaction in
            try transaction.first("SELECT account, member FROM device WHERE id = ?", [.init(device)]).map {
                Membership(account: try $0.checked("account"), isMember: try $0.integer("member") == 1)
            }
        }
    }

    package func devices(of account: ContentHash) async throws -> [StoredDevice] {
        try await engine.transaction(.read) { transaction in
            let since = try transaction.now() + (.zero - Self.presenceMax)
            return try transaction.run(
                """
                SELECT device.*, (SELECT max(seen) FROM presence WHERE presence.device = device.id) AS present
                FROM device WHERE account = ? AND member = 1 ORDER BY number
                """, [.init(account)]
            ).map { try StoredDevice(row: $0, presentSince: since) }
        }
    }

    package func setProfile(_ profile: [UInt8], of device: DeviceID) async throws {
        try await engine.transaction(.write) { transaction in
            let known = try transaction.run(
                "UPDATE device SET profile = ? WHERE id = ? RETURNING id", [.bytes(profile), .init(device)])
            guard !known.isEmpty else { throw VMSyncError(.notFound, "there is no device \(device)") }
            try transaction.announceDevices()
        }
    }

    /// How long a device or a server counts as connected that said so: three heartbeats, so that a server that dies leaves nobody
    /// connected for long.
    package static let presenceMax = Duration.seconds(45)

    package func arrived(_ device: DeviceID, at server: ServerRun) async throws -> Bool {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            let known = try transaction.first(
                "SELECT seen FROM presence WHERE device = ? AND server = ?", [.init(device), .init(server)])
            try transaction.run(
                """
                INSERT INTO presence (device, server, seen) VALUES (?, ?, ?)
                ON CONFLICT (device, server) DO UPDATE SET seen = excluded.seen
                """, [.init(device), .init(server), .init(now)])
            try transaction.run("UPDATE device SET last_seen = ? WHERE id = ?", [.init(now), .init(device)])
            if known == nil { try transaction.announceDevices() }
            return known == nil
        }
    }

    package func left(_ device: DeviceID, from server: ServerRun) async throws {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            try transaction.run(
                "DELETE FROM presence WHERE device = ? AND server = ?", [.init(device), .init(server)])
            try transaction.run("UPDATE device SET last_seen = ? WHERE id = ?", [.init(now), .init(device)])
            try transaction.announceDevices()
        }
    }

    package func allLeft() async throws {
        try await engine.transaction(.write) { transaction in
            try transaction.run("DELETE FROM presence")
            try transaction.run("DELETE FROM server")
            try transaction.announceDevices()
        }
    }
}

extension StoredDevice {
    fileprivate init(row: SQLRow, presentSince since: Timestamp) throws {
        self.init(
            id: try row.checked("id"), profile: try row.bytesIfPresent("profile"), joined: try row.timestamp("joined"),
            lastSeen: try row.timestamp("last_seen"),
            isConnected: row.isNull("present") ? false : try row.timestamp("present") > since)
    }
}
