import Crypto
import Foundation
import VMSyncCore

/// What opens an account when no device of it is left. (docs/protocol/trust.md, "Accounts")
package struct RecoveryKey: Sendable {
    private let secret: [UInt8]
    let signing: P256.Signing.PrivateKey
    let agreement: Curve25519.KeyAgreement.PrivateKey

    /// A new one, from the system's randomness.
    package static func random() throws(VMSyncError) -> RecoveryKey {
        var generator = SystemRandomNumberGenerator()
        return try RecoveryKey((0..<CheckedText.bytes).map { _ in UInt8.random(in: 0...255, using: &generator) })
    }

    /// What somebody typed.
    /// - Throws: `invalidInput` if a letter is wrong.
    package init(typed: String) throws(VMSyncError) {
        guard let secret = CheckedText.bytes(typed: typed) else {
            throw VMSyncError(
                .invalidInput, "that is no recovery key: a letter is wrong or missing", hint: "it has 8 groups of 7")
        }
        try self.init(secret)
    }

    private init(_ secret: [UInt8]) throws(VMSyncError) {
        self.secret = secret
        do {
            signing = try P256.Signing.PrivateKey(
                rawRepresentation: Self.derived(secret, "vmsync recovery signing 1"))
            agreement = try Curve25519.KeyAgreement.PrivateKey(
                rawRepresentation: Self.derived(secret, "vmsync recovery agreement 1"))
        } catch {
            // One secret in 2^32 gives no number below the order of P-256.
            throw VMSyncError(.invalidInput, "that recovery key can't be used: \(error)")
        }
    }

    private static func derived(_ secret: [UInt8], _ info: String) -> Data {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: secret), info: Data(info.utf8), outputByteCount: 32
        ).withUnsafeBytes { Data($0) }
    }

    /// In eight groups of seven letters, to be written down.
    package var text: String { CheckedText.grouped(secret) }

    /// What everybody may know.
    package var identity: RecoveryIdentity {
        RecoveryIdentity(
            signing: signing.publicKey.rawRepresentation, agreement: agreement.publicKey.rawRepresentation)
    }
}

/// What others know of a recovery key.
package struct RecoveryIdentity: Sendable, Hashable, Codable {
    let signing: Data
    let agreement: Data

    /// By which a server finds the account; it tells nothing of the key.
    package var id: ContentHash { ContentHash(digest: SHA256.hash(data: signing + agreement)) }

    func hasSigned(_ bytes: some DataProtocol, with signature: some DataProtocol) -> Bool {
        guard let key = try? P256.Signing.PublicKey(rawRepresentation: signing),
            let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
        else { return false }
        return key.isValidSignature(signature, for: bytes)
    }
}
