import Crypto
import Foundation
import VMSyncCore

/// One generation of the key of a VM or an account, and the keys that follow from it. (docs/format/encrypted.md, "Keys")
package struct SubjectKey: Sendable, Hashable {
    package static let bytes = 32

    /// From 1.
    package let generation: UInt32
    private let key: SymmetricKey

    /// - Throws: `corrupt` unless there are 32 bytes, and a generation.
    package init(generation: UInt32, bytes: some ContiguousBytes) throws(VMSyncError) {
        key = SymmetricKey(data: bytes)
        guard generation > 0, key.bitCount == 8 * Self.bytes else {
            throw VMSyncError(.corrupt, "a key of \(key.bitCount) bits, generation \(generation), can't be")
        }
        self.generation = generation
    }

    /// A new one, from the system's randomness.
    package static func random(generation: UInt32) -> SubjectKey {
        SubjectKey(generation, SymmetricKey(size: .bits256))
    }

    private init(_ generation: UInt32, _ key: SymmetricKey) {
        self.generation = generation
        self.key = key
    }

    /// For a grant.
    func withBytes<Answer>(_ body: (UnsafeRawBufferPointer) throws -> Answer) rethrows -> Answer {
        try key.withUnsafeBytes(body)
    }

    package static func == (left: SubjectKey, right: SubjectKey) -> Bool {
        left.generation == right.generation && left.key == right.key
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(generation) }

    // MARK: What follows from it

    func streamKey(salt: [UInt8], _ purpose: StreamPurpose) -> SymmetricKey {
        derived(salt: salt, "vmsync stream 1" + purpose.text)
    }

    /// The salt of a stream whose bytes are `bytes`: equal ones get the same.
    func salt(of bytes: UnsafeRawBufferPointer) -> [UInt8] {
        let key = derived(salt: [], "vmsync salt 1")
        return Array(HMAC<SHA256>.authenticationCode(for: bytes, using: key).prefix(StreamFormat.saltBytes))
    }

    /// The key of a base image. The same image has the same key within an account, so a broken import goes on where it was.
    /// - Parameter hash: of the image as it is.
    package func imageKey(of hash: ContentHash) -> SubjectKey {
        let key = derived(salt: [], "vmsync image 1\(hash)")
        return SubjectKey(generation, key)
    }

    /// The digest that stands beside a checkpoint, for the digest of its state.
    package func digest(of text: String) -> [UInt8] {
        let key = derived(salt: [], "vmsync digest 1")
        return Array(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key).prefix(Self.digestBytes))
    }

    package static let digestBytes = 16

    /// What vouches for the fields of a share's link.
    func shareTag(of fields: Data) -> [UInt8] {
        let key = derived(salt: [], "vmsync share tag 1")
        return Array(HMAC<SHA256>.authenticationCode(for: fields, using: key))
    }

    private func derived(salt: [UInt8], _ info: String) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: key, salt: salt, info: Data(info.utf8), outputByteCount: Self.bytes)
    }
}

/// For what is itself encrypted, or can be read by its owner only.
extension SubjectKey: Codable {
    private enum CodingKeys: String, CodingKey { case generation, bytes }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            generation: try container.decode(UInt32.self, forKey: .generation),
            bytes: try container.decode(Data.self, forKey: .bytes))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(generation, forKey: .generation)
        try container.encode(withBytes { Data($0) }, forKey: .bytes)
    }
}

/// What encrypted bytes are; a part of their key, so that none can stand in the place of another.
package enum StreamPurpose: Sendable, Hashable {
    case pack(VMID, Sequence)
    /// A pack that was merged of others, between two states.
    case span(VMID, Sequence, Sequence)
    /// A part of a base image, whose key it has to itself.
    case chunk
    /// Name and description of a VM.
    case vm(VMID)
    /// Name and abilities of a device.
    case device(DeviceID)
    /// What a person calls a checkpoint.
    case tag(VMID, Sequence)
    case thumbnail(VMID, Sequence)
    /// What is set for a VM.
    case policy(VMID)
    /// How a device stands with a VM.
    case standing(VMID, DeviceID)
    /// Why a switch did not happen; it is named by the switch.
    case reason(String)
    /// A state that was given away for a while, and what it is; named by the share.
    case sharedPack(String)
    case sharedDescription(String)

    var text: String {
        switch self {
        case .pack(let vm, let sequence): "pack \(vm) \(sequence)"
        case .span(let vm, let first, let last): "span \(vm) \(first) \(last)"
        case .tag(let vm, let sequence): "tag \(vm) \(sequence)"
        case .chunk: "chunk"
        case .vm(let vm): "vm \(vm)"
        case .device(let device): "device \(device)"
        case .thumbnail(let vm, let sequence): "thumbnail \(vm) \(sequence)"
        case .policy(let vm): "policy \(vm)"
        case .standing(let vm, let device): "standing \(vm) \(device)"
        case .reason(let id): "reason \(id)"
        case .sharedPack(let id): "share \(id) pack"
        case .sharedDescription(let id): "share \(id) description"
        }
    }
}

/// The layout of encrypted bytes. (docs/format/encrypted.md, "An encrypted stream")
enum StreamFormat {
    static let magic: [UInt8] = Array("VMSE".utf8)
    static let version: UInt16 = 1
    static let saltBytes = 16
    static let headerBytes = 28
    static let segmentBytes = 65_536
    static let tagBytes = 16
    static let nonceBytes = 12
}
