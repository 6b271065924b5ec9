import Foundation
import VMSyncCore
import VMSyncPolicy

/// The history as a whole: its outline, and what is taken out of it.
extension SQLMetadataStore {
    package func outline(of vm: VMID, after sequence: Sequence, limit: Int) async throws -> HistoryOutline {
        try await engine.transaction(.read) { try Self.outline(of: vm, after: sequence, limit: limit, $0) }
    }

    private static func outline(
        of vm: VMID, after sequence: Sequence, limit: Int, _ transaction: any SQLTransaction
    ) throws -> HistoryOutline {
        let checkpoints = try transaction.run(
            """
            SELECT sequence, parent, basis, kind, device, created, forgotten, tag,
                CASE WHEN thumbnail IS NULL THEN 0 ELSE 1 END AS has_thumbnail
            FROM checkpoint WHERE vm = ? AND sequence > ? ORDER BY sequence LIMIT ?
            """, [.init(vm), try .init(sequence), .integer(Int64(limit))]
        ).map(OutlineCheckpoint.init(row:))
        guard let last = checkpoints.last?.sequence else { return HistoryOutline() }
        let packs = try transaction.run(
            """
            SELECT first, last, size, CASE WHEN link IS NULL THEN 0 ELSE 1 END AS span FROM pack
            WHERE vm = ? AND last > ? AND last <= ? ORDER BY last, first
            """, [.init(vm), try .init(sequence), try .init(last)]
        ).map { row in
            OutlinePack(
                try PackID(row: row), size: try row.unsigned("size"), isSpan: try row.integer("span") != 0)
        }
        return HistoryOutline(checkpoints: checkpoints, packs: packs)
    }

    package func setTag(_ tag: [UInt8]?, of sequence: Sequence, of vm: VMID) async throws {
        try await engine.transaction(.write) { transaction in
            try Self.checkListed(sequence, of: vm, transaction)
            _ = try transaction.run(
                "UPDATE checkpoint SET tag = ? WHERE vm = ? AND sequence = ?",
                [tag.map { .bytes($0) } ?? .null, .init(vm), try .init(sequence)])
        }
    }

    package func setThumbnail(_ thumbnail: [UInt8], of sequence: Sequence, of vm: VMID) async throws {
        try await engine.transaction(.write) { transaction in
            try Self.checkListed(sequence, of: vm, transaction)
            _ = try transaction.run(
                "UPDATE checkpoint SET thumbnail = ? WHERE vm = ? AND sequence = ?",
                [.bytes(thumbnail), .init(vm), try .init(sequence)])
        }
    }

    package func thumbnail(of sequence: Sequence, of vm: VMID) async throws -> [UInt8]? {
        try await engine.transaction(.read) { transaction in
            try Self.checkListed(sequence, of: vm, transaction)
            return try transaction.run(
                "SELECT thumbnail FROM checkpoint WHERE vm = ? AND sequence = ?", [.init(vm), try .init(sequence)]
            ).first?.bytesIfPresent("thumbnail")
        }
    }

    /// - Throws: `notFound` unless there is such a checkpoint, on the list.
    static func checkListed(_ sequence: Sequence, of vm: VMID, _ transaction: any SQLTransaction) throws {
        let row = try checkpointRow(of: vm, at: sequence, transaction)
        guard try row?.integer("forgotten") == 0 else {
            throw VMSyncError(.notFound, "there is no checkpoint \(sequence) to go back to", hint: "vmsync history")
        }
    }

    package func forget(_ sequences: [Sequence], of vm: VMID, isTrial: Bool) async throws -> Pruned {
        try await engine.transaction(isTrial ? .read : .write) { transaction in
            let before = try Self.outline(of: vm, after: .base, limit: .max, transaction)
            let unwanted = Set(sequences)
            let dropped = before.listed.filter { unwanted.contains($0.sequence) && $0 != before.head && $0.tag == nil }
            let after = before.forgetting(Set(dropped.map(\.sequence)))
            if !isTrial {
                for checkpoint in dropped {
                    try transaction.run(
                        "UPDATE checkpoint SET forgotten = 1, thumbnail = NULL WHERE vm = ? AND sequence = ?",
                        [.init(vm), try .init(checkpoint.sequence)])
                }
            }
            let plan = after.prunePlan()
            return Pruned(checkpoints: dropped.map(\.sequence), packs: plan.packs.count, bytes: plan.bytes, blobs: [])
        }
    }

    package func prune(_ vm: VMID, isTrial: Bool) async throws -> Pruned {
        try await engine.transaction(isTrial ? .read : .write) { transaction in
            let plan = try Self.outline(of: vm, after: .base, limit: .max, transaction).prunePlan()
            var blobs: [BlobID] = []
            if !isTrial {
                for pack in plan.packs { blobs += try Self.remove(pack, of: vm, transaction) }
                for sequence in plan.checkpoints {
                    try transaction.run(
                        "DELETE FROM checkpoint WHERE vm = ? AND sequence = ?", [.init(vm), try .init(sequence)])
                }
            }
            return Pruned(checkpoints: plan.checkpoints, packs: plan.packs.count, bytes: plan.bytes, blobs: blobs)
        }
    }

    package func removePack(_ id: PackID, of vm: VMID) async throws -> [BlobID] {
        try await engine.transaction(.write) { transaction in
            let outline = try Self.outline(of: vm, after: .base, limit: .max, transaction)
            guard outline.removing([id]).unreachable.isEmpty else {
                throw VMSyncError(
                    .wrongState, "without pack \(id) no route leads to some checkpoints", hint: "vmsync repair")
            }
            return try Self.remove(id, of: vm, transaction)
        }
    }

    /// - Returns: the blobs that nothing names any more.
    private static func remove(
        _ pack: PackID, of vm: VMID, _ transaction: any SQLTransaction
    ) throws -> [BlobID] {
        let ends: [SQLValue] = [.init(vm), try .init(pack.first), try .init(pack.last)]
        let chunks: [ContentHash] = try transaction.run(
            "SELECT DISTINCT hash FROM pack_chunk WHERE vm = ? AND first = ? AND last = ?", ends
        ).map { try $0.checked("hash") }
        let rows = try transaction.run(
            "DELETE FROM pack WHERE vm = ? AND first = ? AND last = ? RETURNING blob", ends)
        var blobs: [BlobID] = try rows.compactMap { try $0.checkedIfPresent("blob") }
        // Encrypted packs have no chunk in common, but by being the same pack; a base image may have any.
        for chunk in chunks { blobs += try dropUnused(chunk, transaction) }
        return blobs
    }
}

extension OutlineCheckpoint {
    init(row: SQLRow) throws {
        self.init(
            sequence: Sequence(rawValue: try row.unsigned("sequence")),
            parent: Sequence(rawValue: try row.unsigned("parent")),
            basis: Sequence(rawValue: try row.unsigned("basis")), kind: try row.checked("kind"),
            device: try row.checked("device"), created: try row.timestamp("created"),
            isForgotten: try row.integer("forgotten") != 0, hasThumbnail: try row.integer("has_thumbnail") != 0,
            tag: try row.bytesIfPresent("tag").map { Data($0) })
    }
}
