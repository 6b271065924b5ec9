import Foundation
import VMSyncCore
import VMSyncPolicy

/// `GET /vms/NAME/history`: a checkpoint that the VM can go back to.
package struct HistoryEntry: Sendable, Codable {
    package let sequence: Sequence
    package let created: Timestamp
    /// That made it.
    package let device: String
    package let kind: CheckpointKind
    /// Of its own pack; nil if that was pruned, because others lead there.
    package let bytes: UInt64?
    /// Whether there is a picture of the screen.
    package let hasThumbnail: Bool
    package let tag: String?
    /// The checkpoint that the VM went back to with it.
    package let cameFrom: Sequence?
    package let isHead: Bool

    package init(
        sequence: Sequence, created: Timestamp, device: String, kind: CheckpointKind, bytes: UInt64?,
        hasThumbnail: Bool, tag: String?, cameFrom: Sequence?, isHead: Bool
    ) {
        self.sequence = sequence
        self.created = created
        self.device = device
        self.kind = kind
        self.bytes = bytes
        self.hasThumbnail = hasThumbnail
        self.tag = tag
        self.cameFrom = cameFrom
        self.isHead = isHead
    }

    enum CodingKeys: String, CodingKey {
        case sequence, created, device, kind, bytes, tag
        case hasThumbnail = "thumbnail"
        case cameFrom = "came_from"
        case isHead = "head"
    }
}

/// `GET /vms/NAME/thumbnails/CHECKPOINT`, by number, by tag, or `latest`
package struct PictureMessage: Sendable, Codable {
    package let sequence: Sequence
    package let width: Int
    package let height: Int
    /// As in `Picture`.
    package let pixels: Data

    package init(of sequence: Sequence, _ picture: Picture) {
        self.sequence = sequence
        width = picture.width
        height = picture.height
        pixels = Data(picture.pixels)
    }

    /// - Throws: `corrupt` unless it is one.
    package var picture: Picture {
        get throws(VMSyncError) { try Picture(width: width, height: height, pixels: Array(pixels)) }
    }
}

/// `POST /vms/NAME/tag`
package struct TagOrder: Sendable, Codable {
    /// By number, by its present tag, or `latest`.
    package let checkpoint: String
    /// Nil takes the tag off.
    package let tag: String?

    package init(checkpoint: String, tag: String?) {
        self.checkpoint = checkpoint
        self.tag = tag
    }
}

/// `POST /vms/NAME/restore`
package struct RestoreOrder: Sendable, Codable {
    package let checkpoint: String
    /// The name of the new VM; nil goes back.
    package let newName: String?
    /// Whether the new one is without memory, as after a power failure.
    package let diskOnly: Bool

    package init(checkpoint: String, newName: String?, diskOnly: Bool) {
        self.checkpoint = checkpoint
        self.newName = newName
        self.diskOnly = diskOnly
    }

    enum CodingKeys: String, CodingKey {
        case checkpoint
        case newName = "as"
        case diskOnly = "disk_only"
    }
}

/// `POST /vms/NAME/check`
package struct CheckOrder: Sendable, Codable {
    /// Whether all bytes are fetched and checked.
    package let readsData: Bool
    package init(readsData: Bool) { self.readsData = readsData }

    enum CodingKeys: String, CodingKey { case readsData = "read_data" }
}

/// What a check has found.
package struct CheckReport: Sendable, Codable {
    /// On the list.
    package var checkpoints: Int
    /// On the routes to them.
    package var packs = 0
    package var bytes: UInt64 = 0
    /// In a person's words; empty if all is well.
    package var problems: [String] = []
    package var damaged: [PackID] = []
    /// What a repair does about it.
    package var plan: RepairPlan?

    package init(checkpoints: Int) { self.checkpoints = checkpoints }
}

/// What a restore has led to.
package struct Restored: Sendable, Codable {
    package let name: String
    package init(name: String) { self.name = name }
}

/// `POST /vms/NAME/forget`
package struct ForgetOrder: Sendable, Codable {
    package let rules: Retention
    package let isTrial: Bool

    package init(rules: Retention, isTrial: Bool) {
        self.rules = rules
        self.isTrial = isTrial
    }

    enum CodingKeys: String, CodingKey {
        case rules
        case isTrial = "dry_run"
    }
}
