import Foundation
import VMSyncCore
import VMSyncPolicy

/// `POST /vms/{id}/shares`
package struct ShareRequest: Sendable, Codable {
    package let share: ShareTerms
    /// Of the link.
    package let tag: String
    /// Encrypted.
    package let description: Data
    /// Bytes of the pack, encrypted, and their SHA-256.
    package let size: UInt64
    package let checksum: ContentHash
    /// Of the pack, in order.
    package let chunks: [ContentHash]
    /// What a VM made of it needs besides.
    package let images: [ContentHash]

    package init(
        share: ShareTerms, tag: String, description: Data, size: UInt64, checksum: ContentHash, chunks: [ContentHash],
        images: [ContentHash]
    ) {
        self.share = share
        self.tag = tag
        self.description = description
        self.size = size
        self.checksum = checksum
        self.chunks = chunks
        self.images = images
    }
}

/// `GET /shares`
package struct ShareList: Sendable, Codable {
    package let shares: [ShareRecord]
    package init(shares: [ShareRecord]) { self.shares = shares }
}

/// `POST /shares/{id}/open`: what the link says.
package struct OpenShareRequest: Sendable, Codable {
    package let share: ShareTerms
    package let tag: String

    package init(share: ShareTerms, tag: String) {
        self.share = share
        self.tag = tag
    }
}

/// The answer to it.
package struct SharedState: Sendable, Codable {
    package let description: Data
    package let size: UInt64
    package let checksum: ContentHash
    package let chunks: [ContentHash]
    package let images: [ContentHash]

    package init(
        description: Data, size: UInt64, checksum: ContentHash, chunks: [ContentHash], images: [ContentHash]
    ) {
        self.description = description
        self.size = size
        self.checksum = checksum
        self.chunks = chunks
        self.images = images
    }
}
