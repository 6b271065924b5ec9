import Crypto
import Foundation
import Testing
import VMSyncCore
import VMSyncSecrets

@Suite("Encrypted streams") struct EncryptedStreamTests {
    private let vm: VMID
    private let key: SubjectKey
    private let salt = (UInt8(100)..<116).map { $0 }
    private let large = (0..<150_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ ($0 >> 8)) }

    init() throws {
        vm = try #require(VMID(rawValue: "0123456789abcdefghjk"))
        key = try SubjectKey(generation: 7, bytes: Data((UInt8(0)..<32)))
    }

    private func encrypt(
        _ bytes: [UInt8], _ purpose: StreamPurpose? = nil, salt: [UInt8]? = nil
    ) throws -> [UInt8] {
        try bytes.withRawBytes { bytes throws(VMSyncError) in
            try StreamEncryptor.encrypt(bytes, with: key, purpose ?? .vm(vm), salt: salt ?? self.salt)
        }
    }

    private func open(_ encrypted: [UInt8], _ purpose: StreamPurpose? = nil, with key: SubjectKey? = nil) throws
        -> [UInt8]
    {
        try encrypted.withRawBytes { bytes throws(VMSyncError) in
            try StreamDecryptor.open(bytes, with: key ?? self.key, purpose ?? .vm(vm))
        }
    }

    private func code(_ encrypted: [UInt8], _ purpose: StreamPurpose? = nil, with key: SubjectKey? = nil) -> VMSyncError
        .Code?
    {
        do {
            _ = try open(encrypted, purpose, with: key)
            return nil
        } catch {
            return VMSyncError(error).code
        }
    }

    private func sum(_ bytes: [UInt8]) -> String { ContentHash(digest: SHA256.hash(data: bytes)).rawValue }

    /// The figures come from another implementation of docs/format/encrypted.md, in Python on OpenSSL.
    @Test("they have the form that is written down") func examples() throws {
        let short = try encrypt(Array("the guest".utf8), .pack(vm, Sequence(rawValue: 42)))
        #expect(
            short.map { String(format: "%02x", $0) }.joined()
                == "564d534501000000070000006465666768696a6b6c6d6e6f70717273"
                + "6a1783201192c37351d7fc6308849498a42ace3cae88cce137")
        let long = try encrypt(large)
        #expect(long.count == 150_076)
        #expect(sum(long) == "3c9534f8cb0d7c86e59401e2a3eec59962accc13f33ebc563bbd55d39f3d01e4")
        let chunk = try large.withRawBytes { bytes throws(VMSyncError) in
            try StreamEncryptor.encryptChunk(bytes, with: key)
        }
        #expect(sum(chunk) == "61d79b9d74a30551ce5b77d12bcaca2b707ad563488796e41f60d1f3e11ca77a")
        #expect(
            key.digest(of: "digest").map { String(format: "%02x", $0) }.joined() == "98290cd7c5bdc216642f2e731f6dd711")
    }

    @Test("what was encrypted opens, of any length", arguments: [0, 1, 65_535, 65_536, 65_537, 131_072, 150_000])
    func roundTrip(_ count: Int) throws {
        let bytes = Array(large.prefix(count))
        let encrypted = try encrypt(bytes)
        #expect(encrypted.count == StreamEncryptor.encryptedBytes(of: count))
        #expect(try open(encrypted) == bytes)
    }

    @Test("a change of any part is found") func changes() throws {
        let encrypted = try encrypt(large)
        for offset in Array(0..<60) + [65_000, 65_600, 65_630, 131_250, encrypted.count - 17, encrypted.count - 1] {
            var changed = encrypted
            changed[offset] ^= 1
            #expect(code(changed) != nil, "byte \(offset)")
        }
    }

    @Test("a stream that is cut off or has more is found") func lengths() throws {
        let encrypted = try encrypt(large)
        let stored = StreamDecryptor.headerBytes + StreamDecryptor.storedSegmentBytes
        for count in [0, 4, 27, 28, 43, stored - 1, stored, stored + 1, encrypted.count - 1] {
            #expect(code(Array(encrypted.prefix(count))) == .corrupt, "\(count) bytes")
        }
        #expect(code(encrypted + [0]) == .corrupt)
        #expect(code(encrypted + encrypted.suffix(100)) == .corrupt)
        // A stream that fills its last segment has no empty one behind it.
        let full = try encrypt(Array(large.prefix(65_536)))
        #expect(code(full + (try encrypt([])).suffix(16)) == .corrupt)
    }

    @Test("segments can't change places, nor streams") func order() throws {
        let encrypted = try encrypt(Array(large.prefix(131_072)))
        let (header, segment) = (StreamDecryptor.headerBytes, StreamDecryptor.storedSegmentBytes)
        let swapped = encrypted[..<header] + encrypted[(header + segment)...] + encrypted[header..<header + segment]
        #expect(code(Array(swapped)) == .corrupt)
        let other = try encrypt(Array(large.suffix(131_072)), salt: StreamEncryptor.randomSalt())
        #expect(code(Array(encrypted[..<(header + segment)] + other[(header + segment)...])) == .corrupt)
    }

    @Test("bytes of one purpose are none of another, and another key opens nothing") func purposes() throws {
        let encrypted = try encrypt([1, 2, 3], .pack(vm, Sequence(rawValue: 1)))
        #expect(try open(encrypted, .pack(vm, Sequence(rawValue: 1))) == [1, 2, 3])
        for purpose in [
            StreamPurpose.pack(vm, Sequence(rawValue: 2)), .pack(.random(), Sequence(rawValue: 1)), .vm(vm),
        ] {
            #expect(code(encrypted, purpose) == .corrupt)
        }
        #expect(code(encrypted, .pack(vm, Sequence(rawValue: 1)), with: .random(generation: 7)) == .corrupt)
        #expect(code(encrypted, .pack(vm, Sequence(rawValue: 1)), with: .random(generation: 8)) == .unauthorized)
    }

    @Test("the same bytes of an image are the same chunk, and nothing else is") func chunks() throws {
        func chunk(_ bytes: [UInt8], _ key: SubjectKey) throws -> [UInt8] {
            try bytes.withRawBytes { bytes throws(VMSyncError) in
                try StreamEncryptor.encryptChunk(bytes, with: key)
            }
        }
        let once = try chunk(large, key)
        #expect(try chunk(large, key) == once)
        #expect(try chunk(large, .random(generation: 7)) != once)
        #expect(try open(once, .chunk) == large)
    }

    @Test("an image has its own key, the same within an account") func imageKeys() throws {
        let hashes = try ["a", "b"].map { try #require(ContentHash(rawValue: String(repeating: $0, count: 64))) }
        let imageKey = key.imageKey(of: hashes[0])
        #expect(imageKey == key.imageKey(of: hashes[0]) && imageKey != key && imageKey.generation == key.generation)
        #expect(imageKey != key.imageKey(of: hashes[1]))
        #expect(imageKey != SubjectKey.random(generation: 7).imageKey(of: hashes[0]))
    }

    @Test("a version that isn't known is told apart from damage") func versions() throws {
        var encrypted = try encrypt([1])
        encrypted[4] = 2
        #expect(code(encrypted) == .incompatible)
    }
}
