import Crypto
import Foundation
import VMSyncCore

/// What can be signed: a record that says of which version it is.
package protocol SignedContent: Sendable, Hashable, Codable {
    /// What a signature of it is for, so that none of something else counts here.
    static var purpose: String { get }
    static var knownVersion: Int { get }
    var version: Int { get }
}

/// A record and the signature of somebody, as it is stored and sent: 64 bytes of signature (ECDSA over P-256 and SHA-256, r
/// and s), then the JSON that was signed. (docs/protocol/trust.md, "What is signed")
package struct Signed<Content: SignedContent>: Sendable, Hashable, Codable {
    /// What a reader takes; no record is longer.
    package static var bytesMax: Int { 64 << 10 }
    private static var signatureBytes: Int { 64 }

    package let bytes: Data

    /// What was stored or sent. Nothing of it is believed yet.
    /// - Throws: `corrupt` if it is too short or too long to be a record.
    package init(bytes: Data) throws(VMSyncError) {
        guard bytes.count > Self.signatureBytes, bytes.count <= Self.bytesMax else {
            throw VMSyncError(.corrupt, "\(bytes.count) bytes can't be a signed record")
        }
        self.bytes = bytes
    }

    init(_ content: Content, sign: (Data) throws(VMSyncError) -> [UInt8]) throws(VMSyncError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let json: Data
        do { json = try encoder.encode(content) } catch {
            throw VMSyncError(.bug, "a record can't be encoded: \(error)")
        }
        bytes = Data(try sign(Self.prefix + json)) + json
    }

    package init(_ content: Content, by device: DeviceKeys) throws(VMSyncError) {
        try self.init(content) { bytes throws(VMSyncError) in try device.signature(of: bytes) }
    }

    package init(from decoder: any Decoder) throws {
        try self.init(bytes: try decoder.singleValueContainer().decode(Data.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(bytes)
    }

    private static var prefix: Data { Data("vmsync \(Content.purpose) \(Content.knownVersion)\0".utf8) }

    /// What the signature is of.
    var signedBytes: Data { Self.prefix + bytes.dropFirst(Self.signatureBytes) }
    var signature: Data { bytes.prefix(Self.signatureBytes) }

    /// Of all of it, the signature included.
    package var hash: ContentHash { ContentHash(digest: SHA256.hash(data: Self.prefix + bytes)) }

    /// What is said, by whoever has signed it.
    /// - Throws: `corrupt`, `incompatible`.
    package func read() throws(VMSyncError) -> Content {
        let content: Content
        do {
            content = try JSONDecoder().decode(Content.self, from: Data(bytes.dropFirst(Self.signatureBytes)))
        } catch {
            throw VMSyncError(.corrupt, "a \(Content.purpose) can't be read")
        }
        guard content.version == Content.knownVersion else {
            throw VMSyncError(
                .incompatible, "a \(Content.purpose) is of version \(content.version)",
                hint: "update vmsync on this device")
        }
        return content
    }

    /// Whether who has this certificate, in DER, has signed it.
    package func isSigned(byCertificate certificate: [UInt8]) -> Bool {
        guard let key = try? SelfSignedCertificate.key(of: certificate),
            let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
        else { return false }
        return key.isValidSignature(signature, for: signedBytes)
    }

    package func isSigned(by identity: PublicIdentity) -> Bool { identity.hasSigned(signedBytes, with: signature) }
    func isSigned(by recovery: RecoveryIdentity) -> Bool { recovery.hasSigned(signedBytes, with: signature) }
}
