import VMSyncCore

extension SQLMetadataStore {
    package func missing(among hashes: [ContentHash]) async throws -> [ContentHash] {
        try await engine.transaction(.read) { transaction in
            try hashes.filter { try Self.chunk($0, transaction) == nil }
        }
    }

    package func add(_ chunk: StoredChunk) async throws -> StoredChunk {
        try await engine.transaction(.write) { transaction in
            if let known = try Self.chunk(chunk.hash, transaction) { return known }
            try Self.claim(chunk.blob, transaction)
            try transaction.run(
                "INSERT INTO chunk (hash, blob, size, created) VALUES (?, ?, ?, ?)",
                [.init(chunk.hash), .init(chunk.blob), .init(chunk.size), .init(try transaction.now())])
            return chunk
        }
    }

    package func chunk(_ hash: ContentHash) async throws -> StoredChunk? {
        try await engine.transaction(.read) { try Self.chunk(hash, $0) }
    }

    static func chunk(_ hash: ContentHash, _ transaction: any SQLTransaction) throws -> StoredChunk? {
        try transaction.first("SELECT * FROM chunk WHERE hash = ?", [.init(hash)]).map(StoredChunk.init(row:))
    }

    // MARK: Garbage

    /// A blob gets its first name. It may have been marked while it had none, but not given up.
    /// - Throws: `unavailable` if it took so long to get a name that its bytes are being removed.
    static func claim(_ blob: BlobID, _ transaction: any SQLTransaction) throws {
        let doomed = try transaction.run("DELETE FROM garbage WHERE blob = ? RETURNING doomed", [.init(blob)])
        guard try doomed.first?.integer("doomed") ?? 0 == 0 else {
            throw VMSyncError(.unavailable, "the upload took too long; its bytes are gone", hint: "send it again")
        }
    }

    package func dropChunks(unusedFor age: Duration) async throws -> Int {
        try await engine.transaction(.write) { transaction in
            try transaction.run(
                """
                DELETE FROM chunk WHERE created < ?
                AND \(Self.isUnused) RETURNING hash
                """, [.init(try transaction.now() + (.zero - age))]
            ).count
        }
    }

    /// That nothing names a chunk.
    private static let isUnused = """
        NOT EXISTS (SELECT 1 FROM vm_chunk WHERE vm_chunk.hash = chunk.hash)
        AND NOT EXISTS (SELECT 1 FROM pack_chunk WHERE pack_chunk.hash = chunk.hash)
        AND NOT EXISTS (SELECT 1 FROM share_chunk WHERE share_chunk.hash = chunk.hash)
        """

    /// Drops a chunk if nothing names it any more.
    /// - Returns: its blob then.
    static func dropUnused(_ hash: ContentHash, _ transaction: any SQLTransaction) throws -> [BlobID] {
        try transaction.run("DELETE FROM chunk WHERE hash = ? AND \(isUnused) RETURNING blob", [.init(hash)]).map {
            try $0.checked("blob")
        }
    }

    package func mark(_ found: [BlobID]) async throws {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            for blob in found where try !Self.isNamed(blob, transaction) {
                try transaction.run(
                    "INSERT INTO garbage (blob, marked, doomed) VALUES (?, ?, 0) ON CONFLICT (blob) DO NOTHING",
                    [.init(blob), .init(now)])
            }
        }
    }

    package func doom(markedFor age: Duration, limit: Int) async throws -> [BlobID] {
        try await engine.transaction(.write) { transaction in
            let before = SQLValue(try transaction.now() + (.zero - age))
            try transaction.run("UPDATE garbage SET doomed = 1 WHERE doomed = 0 AND marked <= ?", [before])
            return try transaction.run(
                "SELECT blob FROM garbage WHERE doomed = 1 LIMIT ?", [.integer(Int64(limit))]
            ).map { try $0.checked("blob") }
        }
    }

    package func removed(_ blobs: [BlobID]) async throws {
        try await engine.transaction(.write) { transaction in
            for blob in blobs {
                try transaction.run("DELETE FROM garbage WHERE blob = ? AND doomed = 1", [.init(blob)])
            }
        }
    }

    private static func isNamed(_ blob: BlobID, _ transaction: any SQLTransaction) throws -> Bool {
        if try transaction.first("SELECT hash FROM chunk WHERE blob = ?", [.init(blob)]) != nil { return true }
        return try transaction.first("SELECT vm FROM pack WHERE blob = ?", [.init(blob)]) != nil
    }
}

extension StoredChunk {
    init(row: SQLRow) throws {
        self.init(hash: try row.checked("hash"), blob: try row.checked("blob"), size: try row.unsigned("size"))
    }
}
