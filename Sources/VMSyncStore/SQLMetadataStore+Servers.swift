import VMSyncCore

extension SQLMetadataStore {
    package func time() async throws -> Timestamp { try await engine.transaction(.read) { try $0.now() } }

    package func serverKeys(orKeep fresh: [UInt8]) async throws -> [UInt8] {
        try await engine.transaction(.write) { transaction in
            try transaction.run(
                "INSERT INTO identity (number, keys) VALUES (1, ?) ON CONFLICT (number) DO NOTHING", [.bytes(fresh)])
            return try transaction.first("SELECT keys FROM identity")?.bytes("keys") ?? fresh
        }
    }

    package func serverArrived(_ server: ServerRun, url: String) async throws {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            let isNew = try transaction.first("SELECT id FROM server WHERE id = ?", [.init(server)]) == nil
            try transaction.run(
                """
                INSERT INTO server (id, url, seen) VALUES (?, ?, ?)
                ON CONFLICT (id) DO UPDATE SET seen = excluded.seen
                """, [.init(server), .text(url), .init(now)])
            try transaction.run("DELETE FROM server WHERE seen <= ?", [.init(now + (.zero - Self.presenceMax))])
            if isNew { try transaction.announceServers() }
        }
    }

    package func serverLeft(_ server: ServerRun) async throws {
        try await engine.transaction(.write) { transaction in
            try transaction.run("DELETE FROM server WHERE id = ?", [.init(server)])
            try transaction.announceServers()
        }
    }

    package func servers() async throws -> [String] {
        try await engine.transaction(.read) { transaction in
            let since = try transaction.now() + (.zero - Self.presenceMax)
            return try transaction.run("SELECT DISTINCT url FROM server WHERE seen > ? ORDER BY url", [.init(since)])
                .map { try $0.text("url") }
        }
    }
}
