import Foundation
import VMSyncCore

/// An outline as it travels: rows of numbers, because each has thousands, and a device on a slow link asks for it.
/// (docs/protocol/sync-api.md, "History")
extension HistoryOutline: Codable {
    private enum CodingKeys: String, CodingKey {
        case checkpoints, packs, devices, tags
    }

    /// Bits of a checkpoint's fourth number.
    private struct Flags: OptionSet {
        let rawValue: Int64
        static let off = Flags(rawValue: 1)
        static let forgotten = Flags(rawValue: 2)
        static let thumbnail = Flags(rawValue: 4)
        static let all: Flags = [.off, .forgotten, .thumbnail]
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        var devices: [DeviceID: Int64] = [:]
        var tags: [String: Data] = [:]
        var before = Timestamp(rawValue: 0)
        var rows: [[Int64]] = []
        rows.reserveCapacity(checkpoints.count)
        for checkpoint in checkpoints {
            let device = devices[checkpoint.device] ?? Int64(devices.count)
            devices[checkpoint.device] = device
            var flags: Flags = checkpoint.kind == .off ? .off : []
            if checkpoint.isForgotten { flags.insert(.forgotten) }
            if checkpoint.hasThumbnail { flags.insert(.thumbnail) }
            var row = [
                Int64(clamping: checkpoint.sequence.rawValue), checkpoint.created.rawValue - before.rawValue, device,
                flags.rawValue,
            ]
            before = checkpoint.created
            if checkpoint.parent != checkpoint.sequence.previous || checkpoint.basis != checkpoint.parent {
                row += [Int64(clamping: checkpoint.parent.rawValue), Int64(clamping: checkpoint.basis.rawValue)]
            }
            rows.append(row)
            if let tag = checkpoint.tag { tags["\(checkpoint.sequence)"] = tag }
        }
        try container.encode(devices.sorted { $0.value < $1.value }.map(\.key), forKey: .devices)
        try container.encode(rows, forKey: .checkpoints)
        try container.encode(tags, forKey: .tags)
        try container.encode(
            packs.map { pack in
                [pack.id.first.rawValue, pack.id.last.rawValue, pack.size] + (pack.isSpan ? [1] : [])
            }, forKey: .packs)
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let devices = try container.decode([DeviceID].self, forKey: .devices)
        let tags = try container.decode([String: Data].self, forKey: .tags)
        func wrong(_ what: String) -> DecodingError {
            .dataCorrupted(.init(codingPath: container.codingPath, debugDescription: "\(what) isn't one of an outline"))
        }
        var before: Int64 = 0
        var checkpoints: [OutlineCheckpoint] = []
        for row in try container.decode([[Int64]].self, forKey: .checkpoints) {
            guard row.count == 4 || row.count == 6, let sequence = Sequence(exactly: row[0]), sequence > .base,
                devices.indices.contains(Int(row[2])), Flags.all.rawValue & row[3] == row[3]
            else { throw wrong("checkpoint \(row)") }
            let (created, overflow) = before.addingReportingOverflow(row[1])
            guard !overflow, let parent = row.count == 6 ? Sequence(exactly: row[4]) : sequence.previous,
                let basis = row.count == 6 ? Sequence(exactly: row[5]) : parent
            else { throw wrong("checkpoint \(row)") }
            before = created
            let flags = Flags(rawValue: row[3])
            checkpoints.append(
                OutlineCheckpoint(
                    sequence: sequence, parent: parent, basis: basis, kind: flags.contains(.off) ? .off : .live,
                    device: devices[Int(row[2])], created: Timestamp(rawValue: created),
                    isForgotten: flags.contains(.forgotten), hasThumbnail: flags.contains(.thumbnail),
                    tag: tags["\(sequence)"]))
        }
        let packs = try container.decode([[UInt64]].self, forKey: .packs).map { row in
            guard row.count == 3 || row.count == 4 && row[3] == 1 else { throw wrong("pack \(row)") }
            return OutlinePack(
                PackID(Sequence(rawValue: row[0]), Sequence(rawValue: row[1])), size: row[2], isSpan: row.count == 4)
        }
        self.init(checkpoints: checkpoints, packs: packs)
    }
}

extension Sequence {
    fileprivate init?(exactly number: Int64) {
        guard let raw = UInt64(exactly: number) else { return nil }
        self.init(rawValue: raw)
    }
}
