/// The digest of a checkpoint, in the parts of which it is kept (docs/format/checkpoint.md, "Digest").
package struct StateDigest: Hashable, Sendable, Codable {
    package var memory: Hash128
    package var disks: [Hash128]
    package var deviceState: Hash128

    package init(memory: Hash128, disks: [Hash128], deviceState: Hash128) {
        self.memory = memory
        self.disks = disks
        self.deviceState = deviceState
    }

    /// The base: memory zero, no block present on any of `disks` disks, no device state.
    package static func base(disks: Int) -> StateDigest {
        StateDigest(memory: .zero, disks: Array(repeating: .zero, count: disks), deviceState: .zero)
    }

    /// The one number that two devices compare.
    package var combined: Hash128 {
        let parts = [memory.value.littleEndian] + disks.map(\.value.littleEndian) + [deviceState.value.littleEndian]
        return parts.withUnsafeBytes { Hash128(of: $0) }
    }
}
