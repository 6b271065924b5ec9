import Crypto
import Foundation
import VMSyncCore

/// Bytes of a stream, encrypted segment by segment.
package struct StreamEncryptor {
    private let key: SymmetricKey
    /// What stands at the beginning of the encrypted stream.
    package let header: [UInt8]
    private var number: UInt32 = 0

    /// Bytes of a segment, before it is encrypted.
    package static let segmentBytes = StreamFormat.segmentBytes

    /// - Parameter salt: 16 bytes that no other stream of this key and purpose has, unless it has the same bytes.
    package init(_ subject: SubjectKey, _ purpose: StreamPurpose, salt: [UInt8]) {
        precondition(salt.count == StreamFormat.saltBytes, "a salt has \(StreamFormat.saltBytes) bytes")
        key = subject.streamKey(salt: salt, purpose)
        header =
            StreamFormat.magic + StreamFormat.version.littleEndianBytes + [0, 0]
            + subject.generation.littleEndianBytes + salt
    }

    /// A salt that no other stream has.
    package static func randomSalt() -> [UInt8] {
        var generator = SystemRandomNumberGenerator()
        return (0..<StreamFormat.saltBytes).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    /// Appends the next segment, encrypted.
    /// - Parameters:
    ///   - bytes: 65,536, but for the last.
    ///   - isLast: nothing may follow.
    package mutating func append(
        _ bytes: UnsafeRawBufferPointer, isLast: Bool, to output: inout [UInt8]
    ) throws(VMSyncError) {
        precondition(isLast ? bytes.count <= StreamFormat.segmentBytes : bytes.count == StreamFormat.segmentBytes)
        do {
            let box = try AES.GCM.seal(
                bytes, using: key, nonce: try SegmentNonce.of(number, isLast: isLast),
                authenticating: number == 0 ? header : [])
            output += box.ciphertext
            output += box.tag
        } catch {
            throw VMSyncError(.bug, "a segment can't be encrypted: \(error)")
        }
        guard number < .max || isLast else { throw VMSyncError(.invalidInput, "a stream is too long to be encrypted") }
        number &+= 1
    }

    /// `bytes` as one encrypted stream.
    package static func encrypt(
        _ bytes: UnsafeRawBufferPointer, with subject: SubjectKey, _ purpose: StreamPurpose, salt: [UInt8]
    ) throws(VMSyncError) -> [UInt8] {
        var encryptor = StreamEncryptor(subject, purpose, salt: salt)
        var output = encryptor.header
        output.reserveCapacity(encryptedBytes(of: bytes.count))
        var start = 0
        repeat {
            let end = min(start + StreamFormat.segmentBytes, bytes.count)
            let segment = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
            try encryptor.append(segment, isLast: end == bytes.count, to: &output)
            start = end
        } while start < bytes.count
        return output
    }

    /// `bytes` as a chunk, which is the same for the same bytes.
    package static func encryptChunk(
        _ bytes: UnsafeRawBufferPointer, with subject: SubjectKey
    ) throws(VMSyncError) -> [UInt8] {
        try encrypt(bytes, with: subject, .chunk, salt: subject.salt(of: bytes))
    }

    /// How long `count` bytes are when they are encrypted.
    package static func encryptedBytes(of count: Int) -> Int {
        let segments = max(1, (count + StreamFormat.segmentBytes - 1) / StreamFormat.segmentBytes)
        return StreamFormat.headerBytes + count + segments * StreamFormat.tagBytes
    }
}

/// Takes an encrypted stream apart.
package struct StreamDecryptor {
    /// Which generation of the subject's key a stream needs; looked at before the key is at hand.
    /// - Parameter header: at least the first 28 bytes.
    /// - Throws: `corrupt` if it is no encrypted stream; `incompatible` for another version.
    package static func generation(of header: UnsafeRawBufferPointer) throws(VMSyncError) -> UInt32 {
        guard header.count >= StreamFormat.headerBytes, header.starts(with: StreamFormat.magic) else {
            throw VMSyncError(.corrupt, "these are no encrypted bytes")
        }
        let version = UInt16(littleEndian: header.loadUnaligned(fromByteOffset: 4, as: UInt16.self))
        guard version == StreamFormat.version else {
            throw VMSyncError(
                .incompatible, "encrypted bytes of version \(version)", hint: "update vmsync on this device")
        }
        guard header[6] == 0, header[7] == 0 else {
            throw VMSyncError(.corrupt, "an encrypted stream with unknown flags")
        }
        return UInt32(littleEndian: header.loadUnaligned(fromByteOffset: 8, as: UInt32.self))
    }

    package static let headerBytes = StreamFormat.headerBytes
    /// A segment as it is stored; the last may be shorter, down to a tag alone.
    package static let storedSegmentBytes = StreamFormat.segmentBytes + StreamFormat.tagBytes

    private let key: SymmetricKey
    private let header: [UInt8]
    private var number: UInt32 = 0

    /// - Parameters:
    ///   - header: the first 28 bytes of the stream.
    ///   - subject: of the generation that the header names.
    package init(
        _ header: UnsafeRawBufferPointer, _ subject: SubjectKey, _ purpose: StreamPurpose
    ) throws(VMSyncError) {
        let generation = try Self.generation(of: header)
        guard generation == subject.generation else {
            throw VMSyncError(.unauthorized, "generation \(generation) of the key is needed", hint: "vmsync key check")
        }
        self.header = Array(header.prefix(StreamFormat.headerBytes))
        key = subject.streamKey(salt: Array(self.header.suffix(StreamFormat.saltBytes)), purpose)
    }

    /// The bytes of the next segment.
    /// - Throws: `corrupt` unless it is just this segment of just this stream.
    package mutating func open(_ stored: UnsafeRawBufferPointer, isLast: Bool) throws(VMSyncError) -> Data {
        guard stored.count >= StreamFormat.tagBytes, isLast || stored.count == Self.storedSegmentBytes,
            stored.count <= Self.storedSegmentBytes
        else { throw VMSyncError(.corrupt, "an encrypted stream is cut off") }
        defer { number &+= 1 }
        do {
            let end = stored.count - StreamFormat.tagBytes
            let box = try AES.GCM.SealedBox(
                nonce: try SegmentNonce.of(number, isLast: isLast), ciphertext: stored[..<end], tag: stored[end...])
            return try AES.GCM.open(box, using: key, authenticating: number == 0 ? header : [])
        } catch {
            throw VMSyncError(.corrupt, "encrypted bytes were changed, or aren't what they are said to be")
        }
    }

    /// All bytes of an encrypted stream.
    /// - Throws: `corrupt`, `incompatible`, `unauthorized`.
    package static func open(
        _ encrypted: UnsafeRawBufferPointer, with subject: SubjectKey, _ purpose: StreamPurpose
    ) throws(VMSyncError) -> [UInt8] {
        var decryptor = try StreamDecryptor(encrypted, subject, purpose)
        var output: [UInt8] = []
        output.reserveCapacity(encrypted.count)
        var start = StreamFormat.headerBytes
        repeat {
            let end = min(start + storedSegmentBytes, encrypted.count)
            output += try decryptor.open(
                UnsafeRawBufferPointer(rebasing: encrypted[start..<end]), isLast: end == encrypted.count)
            start = end
        } while start < encrypted.count
        return output
    }
}

private enum SegmentNonce {
    static func of(_ number: UInt32, isLast: Bool) throws -> AES.GCM.Nonce {
        try AES.GCM.Nonce(data: [0, 0, 0, 0] + number.littleEndianBytes + [0, 0, 0, isLast ? 1 : 0])
    }
}

extension FixedWidthInteger {
    var littleEndianBytes: [UInt8] { withUnsafeBytes(of: littleEndian) { Array($0) } }
}
