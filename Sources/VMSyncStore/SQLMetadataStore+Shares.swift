import Foundation
import VMSyncCore
import VMSyncPolicy

extension SQLMetadataStore {
    package func addShare(_ new: NewShare, of account: ContentHash) async throws -> ShareRecord {
        try await engine.transaction(.write) { transaction in
            let id = new.terms.id
            if let row = try Self.shareRow(id, transaction) {
                let present = try ShareRecord(row: row)
                guard try row.checked("account") == account, present.share == new.terms, present.vm == new.vm else {
                    throw VMSyncError(.alreadyExists, "there is already another share \(id)")
                }
                return present
            }
            let now = try transaction.now()
            let record = ShareRecord(share: new.terms, vm: new.vm, device: new.device, created: now)
            try record.validate()
            let open = try transaction.run(
                "SELECT id FROM share WHERE account = ? AND revoked = 0 AND expires > ?", [.init(account), .init(now)])
            guard open.count < new.openMax else {
                throw VMSyncError(
                    .unavailable, "\(open.count) shares are open, which is as many as there may be",
                    hint: "vmsync share revoke ID")
            }
            try transaction.run(
                """
                INSERT INTO share
                (id, account, vm, device, created, start, expires, uses, allow, tag, description, size, checksum, used,
                    revoked)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)
                """,
                [
                    .init(id), .init(account), .init(new.vm), .init(new.device), .init(now), .init(new.terms.start),
                    .init(new.terms.expires), new.terms.uses.map { .integer(Int64($0)) } ?? .null,
                    .init(new.terms.allow), .text(new.tag), .bytes(new.content.description),
                    try .init(new.content.size), .init(new.content.checksum),
                ])
            try Self.insertChunks(new, transaction)
            return record
        }
    }

    private static func insertChunks(_ new: NewShare, _ transaction: any SQLTransaction) throws {
        var size: UInt64 = 0
        for (position, hash) in new.content.chunks.enumerated() {
            size += try existing(hash, transaction).size
            try transaction.run(
                "INSERT INTO share_chunk (share, position, hash) VALUES (?, ?, ?)",
                [.init(new.terms.id), .integer(Int64(position)), .init(hash)])
        }
        guard size == new.content.size else {
            throw VMSyncError(.corrupt, "the share's chunks have \(size) bytes, promised were \(new.content.size)")
        }
        // Behind the pack's, with numbers below zero: what a VM needs that is made of it.
        for (number, hash) in Set(new.content.images).enumerated() {
            _ = try existing(hash, transaction)
            try transaction.run(
                "INSERT INTO share_chunk (share, position, hash) VALUES (?, ?, ?)",
                [.init(new.terms.id), .integer(Int64(-1 - number)), .init(hash)])
        }
    }

    package func shares(of account: ContentHash) async throws -> [ShareRecord] {
        try await engine.transaction(.read) { transaction in
            try transaction.run("SELECT * FROM share WHERE account = ? ORDER BY created, id", [.init(account)]).map(
                ShareRecord.init(row:))
        }
    }

    package func openShare(
        _ terms: ShareTerms, tag: String, by device: DeviceID
    ) async throws -> ShareContent {
        try await engine.transaction(.write) { transaction in
            guard let row = try Self.shareRow(terms.id, transaction) else { throw Self.noShare(terms.id) }
            var record = try ShareRecord(row: row)
            let now = try transaction.now()
            let last = try transaction.first(
                "SELECT opened FROM share_use WHERE share = ? AND device = ?", [.init(terms.id), .init(device)])
            try record.open(
                terms, tag: (tag, try row.text("tag")), lastUse: try last?.timestamp("opened"), at: now)
            if record.used != Int(try row.integer("used")) {
                try transaction.run(
                    "UPDATE share SET used = ? WHERE id = ?", [.integer(Int64(record.used)), .init(terms.id)])
                try transaction.run(
                    """
                    INSERT INTO share_use (share, device, opened) VALUES (?, ?, ?)
                    ON CONFLICT (share, device) DO UPDATE SET opened = excluded.opened
                    """, [.init(terms.id), .init(device), .init(now)])
            }
            let chunks = try transaction.run(
                "SELECT position, hash FROM share_chunk WHERE share = ? ORDER BY position", [.init(terms.id)]
            ).map { (position: try $0.integer("position"), hash: try $0.checked("hash", as: ContentHash.self)) }
            return ShareContent(
                description: try row.bytes("description"), size: try row.unsigned("size"),
                checksum: try row.checked("checksum"), chunks: chunks.filter { $0.position >= 0 }.map(\.hash),
                images: chunks.filter { $0.position < 0 }.map(\.hash))
        }
    }

    package func revokeShare(_ id: ShareID, of account: ContentHash) async throws -> [BlobID] {
        try await engine.transaction(.write) { transaction in
            let revoked = try transaction.run(
                "UPDATE share SET revoked = 1 WHERE id = ? AND account = ? RETURNING id", [.init(id), .init(account)])
            guard !revoked.isEmpty else { throw Self.noShare(id) }
            return try Self.removeContent(of: id, transaction)
        }
    }

    package func endShares() async throws -> [BlobID] {
        try await engine.transaction(.write) { transaction in
            let now = try transaction.now()
            let ended = try transaction.run(
                """
                SELECT DISTINCT share.id FROM share JOIN share_chunk ON share_chunk.share = share.id
                WHERE revoked = 1 OR expires <= ?
                """, [.init(now)])
            var blobs: [BlobID] = []
            for row in ended { blobs += try Self.removeContent(of: try row.checked("id"), transaction) }
            try transaction.run("DELETE FROM share WHERE expires <= ?", [.init(now + (.zero - ShareRecord.memory))])
            return blobs
        }
    }

    /// - Returns: the blobs that nothing names any more.
    private static func removeContent(of id: ShareID, _ transaction: any SQLTransaction) throws -> [BlobID] {
        let packed: [ContentHash] = try transaction.run(
            "SELECT DISTINCT hash FROM share_chunk WHERE share = ? AND position >= 0", [.init(id)]
        ).map { try $0.checked("hash") }
        try transaction.run("DELETE FROM share_chunk WHERE share = ?", [.init(id)])
        return try packed.flatMap { try dropUnused($0, transaction) }
    }

    private static func noShare(_ id: ShareID) -> VMSyncError {
        VMSyncError(.notFound, "there is no share \(id)", hint: "it has ended long ago, or the link is not whole")
    }

    private static func shareRow(_ id: ShareID, _ transaction: any SQLTransaction) throws -> SQLRow? {
        try transaction.first("SELECT * FROM share WHERE id = ?", [.init(id)])
    }
}

extension ShareRecord {
    init(row: SQLRow) throws {
        let uses = row.isNull("uses") ? nil : Int(try row.integer("uses"))
        self.init(
            share: ShareTerms(
                id: try row.checked("id"), start: try row.timestamp("start"), expires: try row.timestamp("expires"),
                uses: uses, allow: try row.checked("allow")),
            vm: try row.checked("vm"), device: try row.checked("device"), created: try row.timestamp("created"),
            used: Int(try row.integer("used")), revoked: try row.integer("revoked") != 0)
    }
}
