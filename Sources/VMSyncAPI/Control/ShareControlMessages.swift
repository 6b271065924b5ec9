import VMSyncCore
import VMSyncPolicy

/// `POST /vms/NAME/share`
package struct ShareOrder: Sendable, Codable {
    package let checkpoint: String
    /// Seconds from now; nil for now.
    package let start: Double?
    /// Seconds from the start.
    package let lifetime: Double
    package let uses: Int?
    package let diskOnly: Bool

    package init(checkpoint: String, start: Double?, lifetime: Double, uses: Int?, diskOnly: Bool) {
        self.checkpoint = checkpoint
        self.start = start
        self.lifetime = lifetime
        self.uses = uses
        self.diskOnly = diskOnly
    }

    enum CodingKeys: String, CodingKey {
        case checkpoint, start, lifetime, uses
        case diskOnly = "disk_only"
    }
}

/// The answer to it.
package struct Shared: Sendable, Codable {
    package let url: String
    package let checkpoint: Sequence
    /// That were sent.
    package let bytes: UInt64
    package let share: ShareRecord

    package init(url: String, checkpoint: Sequence, bytes: UInt64, share: ShareRecord) {
        self.url = url
        self.checkpoint = checkpoint
        self.bytes = bytes
        self.share = share
    }
}

/// `GET /shares`
package struct ShareStatus: Sendable, Codable {
    /// Of the VM that it was made of.
    package let name: String
    package let share: ShareRecord

    package init(name: String, share: ShareRecord) {
        self.name = name
        self.share = share
    }
}

/// `POST /shares/revoke`
package struct RevokeShareOrder: Sendable, Codable {
    package let id: ShareID
    package init(id: ShareID) { self.id = id }
}

/// `POST /open`
package struct OpenOrder: Sendable, Codable {
    package let url: String
    /// What to call it; nil for the name that it had.
    package let name: String?

    package init(url: String, name: String?) {
        self.url = url
        self.name = name
    }
}
