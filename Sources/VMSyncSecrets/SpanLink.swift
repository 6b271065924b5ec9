import VMSyncCore

/// What a device says of a span, and of all statements between its ends, which it has followed.
/// (docs/protocol/trust.md, "Links")
package struct SpanLink: SignedContent {
    package static let purpose = "link"
    package static let knownVersion = 1

    package var version = Self.knownVersion
    package var vm: VMID
    package var device: DeviceID
    /// Nil for the base.
    package var first: ChainPoint?
    package var last: ChainPoint
    /// Bytes of the encrypted span.
    package var size: UInt64
    /// SHA-256 of the encrypted span.
    package var checksum: ContentHash

    package init(
        vm: VMID, device: DeviceID, first: ChainPoint?, last: ChainPoint, size: UInt64, checksum: ContentHash
    ) {
        self.vm = vm
        self.device = device
        self.first = first
        self.last = last
        self.size = size
        self.checksum = checksum
    }
}
