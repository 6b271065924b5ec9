import Foundation
import VMSyncCore
import VMSyncPolicy

/// Packs: those that came with checkpoints, and spans.
extension SQLMetadataStore {
    package func addSpan(_ span: NewPack, of vm: VMID) async throws -> SpanRecord {
        try await engine.transaction(.write) { transaction in
            for end in [span.id.first, span.id.last] where end != .base {
                guard try Self.checkpointRow(of: vm, at: end, transaction) != nil else {
                    throw VMSyncError(.notFound, "there is no checkpoint \(end) of VM \(vm)")
                }
            }
            if let known = try Self.packRow(of: vm, span.id, transaction) {
                guard !known.isNull("link") else {
                    throw VMSyncError(.alreadyExists, "\(span.id) is the pack of a checkpoint")
                }
                return try SpanRecord(row: known)
            }
            let now = try transaction.now()
            try Self.insert(span, of: vm, at: now, transaction)
            return SpanRecord(
                id: span.id, size: span.size, checksum: span.checksum, link: span.link ?? Data(), created: now)
        }
    }

    package func setLink(_ link: Data, of span: PackID, of vm: VMID) async throws {
        try await engine.transaction(.write) { transaction in
            _ = try transaction.run(
                "UPDATE pack SET link = ? WHERE vm = ? AND first = ? AND last = ? AND link IS NOT NULL",
                [.bytes([UInt8](link)), .init(vm), try .init(span.first), try .init(span.last)])
        }
    }

    package func spans(of vm: VMID, after sequence: Sequence, limit: Int) async throws -> [SpanRecord] {
        try await engine.transaction(.read) { transaction in
            try transaction.run(
                """
                SELECT * FROM pack WHERE vm = ? AND last > ? AND link IS NOT NULL ORDER BY last, first LIMIT ?
                """, [.init(vm), try .init(sequence), .integer(Int64(limit))]
            ).map(SpanRecord.init(row:))
        }
    }

    package func pack(_ id: PackID, of vm: VMID) async throws -> StoredPack? {
        try await engine.transaction(.read) { transaction in
            guard let row = try Self.packRow(of: vm, id, transaction) else { return nil }
            let (size, checksum) = (try row.unsigned("size"), try row.checked("checksum", as: ContentHash.self))
            if let blob: BlobID = try row.checkedIfPresent("blob") {
                return StoredPack(size: size, checksum: checksum, blobs: [StoredBlob(id: blob, size: size)])
            }
            let chunks = try transaction.run(
                """
                SELECT chunk.* FROM pack_chunk JOIN chunk ON chunk.hash = pack_chunk.hash
                WHERE vm = ? AND first = ? AND last = ? ORDER BY position
                """, [.init(vm), try .init(id.first), try .init(id.last)]
            ).map(StoredChunk.init(row:))
            return StoredPack(
                size: size, checksum: checksum, blobs: chunks.map { StoredBlob(id: $0.blob, size: $0.size) })
        }
    }

    static func insert(
        _ pack: NewPack, of vm: VMID, at now: Timestamp, _ transaction: any SQLTransaction
    ) throws {
        var blob: BlobID?
        if case .blob(let id) = pack.place {
            try claim(id, transaction)
            blob = id
        }
        let ends: [SQLValue] = [.init(vm), try .init(pack.id.first), try .init(pack.id.last)]
        try transaction.run(
            "INSERT INTO pack (vm, first, last, size, checksum, created, link, blob) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            ends + [
                try .init(pack.size), .init(pack.checksum), .init(now),
                pack.link.map { .bytes([UInt8]($0)) } ?? .null, .init(blob),
            ])
        guard case .chunks(let hashes) = pack.place else { return }
        var size: UInt64 = 0
        for (position, hash) in hashes.enumerated() {
            size += try existing(hash, transaction).size
            try transaction.run(
                "INSERT INTO pack_chunk (vm, first, last, position, hash) VALUES (?, ?, ?, ?, ?)",
                ends + [.integer(Int64(position)), .init(hash)])
        }
        guard size == pack.size else {
            throw VMSyncError(.corrupt, "the pack's chunks have \(size) bytes, promised were \(pack.size)")
        }
    }

    private static func packRow(of vm: VMID, _ id: PackID, _ transaction: any SQLTransaction) throws -> SQLRow? {
        try transaction.first(
            "SELECT * FROM pack WHERE vm = ? AND first = ? AND last = ?",
            [.init(vm), try .init(id.first), try .init(id.last)])
    }
}

extension SpanRecord {
    init(row: SQLRow) throws {
        self.init(
            id: try PackID(row: row), size: try row.unsigned("size"), checksum: try row.checked("checksum"),
            link: Data(try row.bytes("link")), created: try row.timestamp("created"))
    }
}

extension PackID {
    init(row: SQLRow) throws {
        self.init(Sequence(rawValue: try row.unsigned("first")), Sequence(rawValue: try row.unsigned("last")))
    }
}
