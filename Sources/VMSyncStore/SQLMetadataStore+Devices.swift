import VMSyncCore

extension SQLMetadataStore {
    package func invite(_ code: ContentHash, lifetime: Duration) async throws -> Timestamp {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            let expires = now + lifetime
            try transaction.run("DELETE FROM invitation WHERE expires <= ?", [.init(now)])
            try transaction.run(
                "INSERT INTO invitation (code, expires) VALUES (?, ?)", [.init(code), .init(expires)])
            return expires
        }
    }

    package func join(
        _ device: DeviceID, name: String, platform: String, token: ContentHash, invitation: ContentHash
    ) async throws -> StoredDevice {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            try Self.checkInvitation(invitation, at: now, transaction)
            try Self.checkName(name, transaction)
            try transaction.run(
                """
                INSERT INTO device (id, number, name, platform, token, joined, last_seen)
                VALUES (?, (SELECT coalesce(max(number), 0) + 1 FROM device), ?, ?, ?, ?, ?)
                """,
                [.init(device), .text(name), .text(platform), .init(token), .init(now), .init(now)])
            try transaction.run(
                "UPDATE invitation SET used_by = ? WHERE code = ?", [.init(device), .init(invitation)])
            try transaction.announceDevices()
            return StoredDevice(
                id: device, name: name, platform: platform, capabilities: nil, joined: now, lastSeen: now,
                isConnected: false)
        }
    }

    private static func checkInvitation(
        _ code: ContentHash, at now: Timestamp, _ transaction: any SQLTransaction
    ) throws {
        let row = try transaction.first("SELECT expires, used_by FROM invitation WHERE code = ?", [.init(code)])
        let hint = "on the server or a joined device: vmsync server invite"
        guard let row else { throw VMSyncError(.unauthorized, "there is no such invitation", hint: hint) }
        guard row.isNull("used_by") else {
            throw VMSyncError(.unauthorized, "the invitation was already used", hint: hint)
        }
        guard now < (try row.timestamp("expires")) else {
            throw VMSyncError(.unauthorized, "the invitation has expired", hint: hint)
        }
    }

    private static func checkName(_ name: String, _ transaction: any SQLTransaction) throws {
        let taken = try transaction.first("SELECT id FROM device WHERE lower(name) = lower(?)", [.text(name)])
        guard taken == nil else {
            throw VMSyncError(.alreadyExists, "there is already a device \"\(name)\"", hint: "join with another --name")
        }
    }

    package func device(token: ContentHash) async throws -> DeviceID? {
        try await engine.transaction(.read) { transaction in
            try transaction.first("SELECT id FROM device WHERE token = ?", [.init(token)])?.checked("id")
        }
    }

    package func devices() async throws -> [StoredDevice] {
        try await engine.transaction(.read) { transaction in
            let since = try transaction.now() + (.zero - Self.presenceMax)
            return try transaction.run(
                """
                SELECT device.*, (SELECT max(seen) FROM presence WHERE presence.device = device.id) AS present
                FROM device ORDER BY number
                """
            ).map { try StoredDevice(row: $0, presentSince: since) }
        }
    }

    package func setCapabilities(_ json: String, of device: DeviceID) async throws {
        try await engine.transaction(.write) { transaction in
            let known = try transaction.run(
                "UPDATE device SET capabilities = ? WHERE id = ? RETURNING id", [.text(json), .init(device)])
            guard !known.isEmpty else { throw VMSyncError(.notFound, "there is no device \(device)") }
            try transaction.announceDevices()
        }
    }

    /// How long a device counts as connected that said so: three heartbeats, so that a server that dies leaves nobody
    /// connected for long.
    package static let presenceMax = Duration.seconds(45)

    package func arrived(_ device: DeviceID, at server: ServerID) async throws -> Bool {
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

    package func left(_ device: DeviceID, from server: ServerID) async throws {
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
            try transaction.announceDevices()
        }
    }
}

extension StoredDevice {
    fileprivate init(row: SQLRow, presentSince since: Timestamp) throws {
        self.init(
            id: try row.checked("id"), name: try row.text("name"), platform: try row.text("platform"),
            capabilities: try row.textIfPresent("capabilities"), joined: try row.timestamp("joined"),
            lastSeen: try row.timestamp("last_seen"),
            isConnected: row.isNull("present") ? false : try row.timestamp("present") > since)
    }
}
