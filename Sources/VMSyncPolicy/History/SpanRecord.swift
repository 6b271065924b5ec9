import Foundation
import VMSyncCore

/// A span as the server knows it. (docs/protocol/sync-api.md, "Records")
package struct SpanRecord: Hashable, Sendable, Codable {
    package let id: PackID
    /// Bytes of the encrypted pack.
    package let size: UInt64
    /// The SHA-256 of the encrypted pack.
    package let checksum: ContentHash
    /// What a device has signed of it; only devices read it.
    package let link: Data
    /// When the server got it.
    package let created: Timestamp

    package init(id: PackID, size: UInt64, checksum: ContentHash, link: Data, created: Timestamp) {
        self.id = id
        self.size = size
        self.checksum = checksum
        self.link = link
        self.created = created
    }
}
