import CXXHash
import VMSyncCore

/// A 128-bit sum or hash: addition is modulo 2^128, text is 32 hexadecimal digits.
package struct Hash128: Hashable, Sendable, Codable, CustomStringConvertible, BitwiseCopyable {
    package var value: UInt128

    package init(value: UInt128) { self.value = value }
    package static let zero = Hash128(value: 0)

    /// XXH3-128 of `bytes`.
    @inlinable
    package init(of bytes: UnsafeRawBufferPointer) {
        let hash = XXH3_128bits(bytes.baseAddress, bytes.count)
        value = UInt128(hash.high64) << 64 | UInt128(hash.low64)
    }

    /// Nil unless `text` is 32 hexadecimal digits.
    package init?(hexadecimal text: String) {
        // The standard library's parser would take a sign too.
        guard text.utf8.count == 32, text.allSatisfy(\.isHexDigit), let value = UInt128(text, radix: 16) else {
            return nil
        }
        self.value = value
    }

    package var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 32 - digits.count) + digits
    }

    package init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let hash = Hash128(hexadecimal: text) else {
            throw VMSyncError(.corrupt, "\"\(text)\" is no digest")
        }
        self = hash
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

/// The hash of one unit's content and what it adds to a digest (docs/format/checkpoint.md, "Digest").
package enum UnitHash {
    /// For a page of memory: zero for a page of zeros, so that untouched memory costs nothing.
    @inlinable
    package static func page(_ bytes: UnsafeRawBufferPointer) -> Hash128 {
        isZero(bytes) ? .zero : Hash128(of: bytes)
    }

    /// For a present block of a disk: zeros count like any other content.
    @inlinable
    package static func block(_ bytes: UnsafeRawBufferPointer) -> Hash128 { Hash128(of: bytes) }

    /// For a present block of zeros.
    package static let zeroBlock = [UInt8](repeating: 0, count: Unit.size).withRawBytes { block($0) }

    /// What unit `index` with this content adds to the sum of its memory or disk. A sum of the bare hashes would not
    /// notice two units that change places.
    @inlinable
    package static func placed(_ content: Hash128, at index: Int) -> Hash128 {
        if content == .zero { return .zero }
        let place = 2 &* UInt64(truncatingIfNeeded: index) &+ 1
        let high = mix(UInt64(truncatingIfNeeded: content.value >> 64) &+ place &* 0x9E37_79B9_7F4A_7C15)
        let low = mix(UInt64(truncatingIfNeeded: content.value) &+ place &* 0xC2B2_AE3D_27D4_EB4F &+ high)
        return Hash128(value: UInt128(high) << 64 | UInt128(low))
    }

    @inlinable
    static func mix(_ value: UInt64) -> UInt64 {
        var value = value
        value ^= value >> 32
        value = value &* 0xD6E8_FEB8_6659_FD93
        return value ^ value >> 29
    }
}

/// Whether every byte is zero. `bytes.count` is a multiple of 64, as units are.
///
/// Looks at 64 bytes a step and stops at the first that isn't zero; most pages say no in the first step.
@inlinable
package func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var offset = 0
    while offset < bytes.count {
        let chunk = bytes.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
        if chunk != .zero { return false }
        offset += 64
    }
    return true
}
