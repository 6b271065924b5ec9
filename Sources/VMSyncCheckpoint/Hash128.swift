import CXXHash
import VMSyncCore

/// A 128-bit sum or hash: addition is modulo 2^128, text is 32 hexadecimal digits.
package struct Hash128: Hashable, Sendable, Codable, CustomStringConvertible, BitwiseCopyable {
    package var value: UInt128

    package init(value: UInt128) { self.value = value }
    package static let zero = Hash128(value: 0)

    /// XXH3-128 of `bytes`.
    @inlinable
    package init(of bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) {
        let hash = XXH3_128bits_withSeed(bytes.baseAddress, bytes.count, seed)
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

/// The hash that one unit contributes to a digest (docs/format/checkpoint.md, "Digest").
package enum UnitHash {
    /// For a page of memory: zero for a page of zeros, so that untouched memory costs nothing.
    @inlinable
    package static func memory(_ index: Int, _ bytes: UnsafeRawBufferPointer) -> Hash128 {
        isZero(bytes) ? .zero : Hash128(of: bytes, seed: UInt64(index))
    }

    /// For a present block of a disk: zeros count like any other content.
    @inlinable
    package static func block(_ index: Int, _ bytes: UnsafeRawBufferPointer) -> Hash128 {
        Hash128(of: bytes, seed: UInt64(index))
    }

    /// For a present block of zeros.
    package static func zeroBlock(_ index: Int) -> Hash128 { zeros.withRawBytes { block(index, $0) } }

    private static let zeros = [UInt8](repeating: 0, count: Unit.size)
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
