import Crypto
import Foundation
import SwiftASN1
import VMSyncCore
import X509

/// The two key pairs of a device or a server, and the certificate that it has made with one of them. All of it is secret.
package struct DeviceKeys: Sendable {
    package let signing: P256.Signing.PrivateKey
    package let agreement: Curve25519.KeyAgreement.PrivateKey
    /// What everybody may know.
    package let identity: PublicIdentity

    /// New ones, from the system's randomness.
    /// - Parameter now: seconds since 1970; the certificate is good from the day before, because clocks differ.
    package init(now: TimeInterval) throws(VMSyncError) {
        signing = P256.Signing.PrivateKey()
        agreement = Curve25519.KeyAgreement.PrivateKey()
        let key = agreement.publicKey.rawRepresentation
        identity = PublicIdentity(
            certificate: Data(try SelfSignedCertificate.make(signing, now: now)), agreement: key,
            binding: Data(try Self.signature(of: PublicIdentity.bindingPrefix + key, signing)))
    }

    package var id: DeviceID { identity.id }

    /// A signature of `bytes`, which begin with what they are.
    package func signature(of bytes: some DataProtocol) throws(VMSyncError) -> [UInt8] {
        try Self.signature(of: bytes, signing)
    }

    private static func signature(
        of bytes: some DataProtocol, _ key: P256.Signing.PrivateKey
    ) throws(VMSyncError) -> [UInt8] {
        do {
            return Array(try key.signature(for: bytes).rawRepresentation)
        } catch {
            throw VMSyncError(.bug, "this device can't sign: \(error)")
        }
    }

    // MARK: In a file

    private struct Stored: Codable {
        var signing: Data
        var agreement: Data
        var identity: PublicIdentity
    }

    /// As it is kept.
    package init(json: Data) throws(VMSyncError) {
        do {
            let stored = try JSONDecoder().decode(Stored.self, from: json)
            signing = try P256.Signing.PrivateKey(rawRepresentation: stored.signing)
            agreement = try Curve25519.KeyAgreement.PrivateKey(rawRepresentation: stored.agreement)
            identity = stored.identity
            guard
                try SelfSignedCertificate.key(of: Array(identity.certificate)).rawRepresentation
                    == signing.publicKey.rawRepresentation,
                try identity.agreementKey().rawRepresentation == agreement.publicKey.rawRepresentation
            else { throw VMSyncError(.corrupt, "its certificate is of another key") }
        } catch {
            throw VMSyncError(.corrupt, "the keys of this device can't be read: \(error)")
        }
    }

    package func json() throws(VMSyncError) -> Data {
        do {
            return try JSONEncoder().encode(
                Stored(
                    signing: signing.rawRepresentation, agreement: agreement.rawRepresentation,
                    identity: identity))
        } catch {
            throw VMSyncError(.bug, "keys can't be encoded: \(error)")
        }
    }

    /// The signing key in the form that TLS takes.
    package var pem: String { signing.pemRepresentation }
}

/// What others know of a device's keys.
package struct PublicIdentity: Sendable, Hashable, Codable {
    /// In DER.
    package let certificate: Data
    /// An X25519 key.
    package let agreement: Data
    /// The device's signature of its agreement key: who knows the id, knows both keys.
    private let binding: Data

    static let bindingPrefix = Data("vmsync agreement 1\0".utf8)

    fileprivate init(certificate: Data, agreement: Data, binding: Data) {
        self.certificate = certificate
        self.agreement = agreement
        self.binding = binding
    }

    package var id: DeviceID { SelfSignedCertificate.id(of: Array(certificate)) }

    /// Whether the device has signed `bytes`.
    func hasSigned(_ bytes: some DataProtocol, with signature: some DataProtocol) -> Bool {
        guard let key = try? SelfSignedCertificate.key(of: Array(certificate)),
            let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
        else { return false }
        return key.isValidSignature(signature, for: bytes)
    }

    /// The key to which others encrypt.
    /// - Throws: `corrupt` unless it is the device's own.
    func agreementKey() throws(VMSyncError) -> Curve25519.KeyAgreement.PublicKey {
        guard hasSigned(Self.bindingPrefix + agreement, with: binding) else {
            throw VMSyncError(.corrupt, "the agreement key of device \(id) isn't its own")
        }
        do {
            return try Curve25519.KeyAgreement.PublicKey(rawRepresentation: agreement)
        } catch {
            throw VMSyncError(.corrupt, "the agreement key of device \(id) is none")
        }
    }
}

/// Certificates that name nobody and that nobody else has signed: only their hash counts. (docs/protocol/trust.md)
package enum SelfSignedCertificate {
    private static let years = 100.0
    private static let day: TimeInterval = 86_400

    static func make(_ key: P256.Signing.PrivateKey, now: TimeInterval) throws(VMSyncError) -> [UInt8] {
        do {
            let name = try DistinguishedName { CommonName("vmsync") }
            let certificate = try Certificate(
                version: .v3, serialNumber: Certificate.SerialNumber(),
                publicKey: Certificate.PublicKey(key.publicKey),
                notValidBefore: Date(timeIntervalSince1970: now - day),
                notValidAfter: Date(timeIntervalSince1970: now + years * 365.25 * day), issuer: name, subject: name,
                extensions: try Certificate.Extensions { Critical(BasicConstraints.notCertificateAuthority) },
                issuerPrivateKey: Certificate.PrivateKey(key))
            var serializer = DER.Serializer()
            try serializer.serialize(certificate)
            return serializer.serializedBytes
        } catch {
            throw VMSyncError(.bug, "no certificate can be made: \(error)")
        }
    }

    /// Who has the certificate.
    /// - Parameter certificate: in DER.
    package static func id(of certificate: [UInt8]) -> DeviceID {
        DeviceID(digest: SHA256.hash(data: certificate))
    }

    static func key(of certificate: [UInt8]) throws(VMSyncError) -> P256.Signing.PublicKey {
        do {
            guard let key = P256.Signing.PublicKey(try Certificate(derEncoded: certificate).publicKey) else {
                throw VMSyncError(.corrupt, "it has no P-256 key")
            }
            return key
        } catch {
            throw VMSyncError(.corrupt, "a certificate can't be read: \(error)")
        }
    }
}
