import Crypto
import Foundation
import VMSyncCore

/// Whose key it is.
package enum KeySubject: Sendable, Hashable, Codable, CustomStringConvertible {
    case account
    case vm(VMID)

    package var description: String {
        switch self {
        case .account: "account"
        case .vm(let vm): "vm \(vm)"
        }
    }
}

/// Who may have it.
package enum KeyRecipient: Sendable, Hashable, Codable, CustomStringConvertible {
    case device(DeviceID)
    case recovery

    package var description: String {
        switch self {
        case .device(let id): "device \(id)"
        case .recovery: "recovery"
        }
    }
}

/// One generation of one subject's key, readable by one recipient only. (docs/protocol/trust.md, "Key grants")
package struct KeyGrant: Sendable, Hashable, Codable {
    package let subject: KeySubject
    package let generation: UInt32
    package let recipient: KeyRecipient
    /// The member that granted it.
    package let granter: DeviceID
    private let encapsulated: Data
    private let encrypted: Data
    private var signature: Data

    private static let suite = HPKE.Ciphersuite.Curve25519_SHA256_ChachaPoly

    /// Grants `key` to a member.
    package init(
        _ key: SubjectKey, of subject: KeySubject, to device: PublicIdentity, by granter: DeviceKeys
    ) throws(VMSyncError) {
        try self.init(key, of: subject, to: .device(device.id), device.agreementKey(), by: granter)
    }

    /// Grants `key` to who has the recovery key.
    package init(
        _ key: SubjectKey, of subject: KeySubject, to recovery: RecoveryIdentity, by granter: DeviceKeys
    ) throws(VMSyncError) {
        do {
            try self.init(
                key, of: subject, to: .recovery,
                Curve25519.KeyAgreement.PublicKey(rawRepresentation: recovery.agreement), by: granter)
        } catch {
            throw VMSyncError(error, during: "granting a key to the recovery key")
        }
    }

    private init(
        _ key: SubjectKey, of subject: KeySubject, to recipient: KeyRecipient,
        _ recipientKey: Curve25519.KeyAgreement.PublicKey, by granter: DeviceKeys
    ) throws(VMSyncError) {
        self.subject = subject
        generation = key.generation
        self.recipient = recipient
        self.granter = granter.id
        do {
            var sender = try HPKE.Sender(
                recipientKey: recipientKey, ciphersuite: Self.suite,
                info: Self.info(subject, key.generation, recipient))
            encapsulated = sender.encapsulatedKey
            encrypted = try sender.seal(key.withBytes { Data($0) })
        } catch {
            throw VMSyncError(.bug, "a key can't be granted: \(error)")
        }
        signature = Data()
        signature = Data(try granter.signature(of: signedBytes))
    }

    private static func info(_ subject: KeySubject, _ generation: UInt32, _ recipient: KeyRecipient) -> Data {
        Data("vmsync grant 1|\(subject)|\(generation)|\(recipient)".utf8)
    }

    private var signedBytes: Data {
        Self.info(subject, generation, recipient) + Data("|\(granter)|".utf8) + encapsulated + encrypted
    }

    /// The key, for the device that it was granted to.
    /// - Throws: `corrupt` unless a member of `roster` has granted just this to just this device.
    package func open(by device: DeviceKeys, _ roster: Roster) throws(VMSyncError) -> SubjectKey {
        guard recipient == .device(device.id) else { throw refused("it is for another") }
        return try open(with: device.agreement, roster)
    }

    /// The key, for who has the recovery key.
    package func open(by recovery: RecoveryKey, _ roster: Roster) throws(VMSyncError) -> SubjectKey {
        guard recipient == .recovery else { throw refused("it is for another") }
        return try open(with: recovery.agreement, roster)
    }

    private func open(
        with key: Curve25519.KeyAgreement.PrivateKey, _ roster: Roster
    ) throws(VMSyncError) -> SubjectKey {
        guard let member = roster.members[granter], member.hasSigned(signedBytes, with: signature) else {
            throw refused("no member has signed it")
        }
        do {
            var reader = try HPKE.Recipient(
                privateKey: key, ciphersuite: Self.suite, info: Self.info(subject, generation, recipient),
                encapsulatedKey: encapsulated)
            return try SubjectKey(generation: generation, bytes: try reader.open(encrypted))
        } catch {
            throw refused("it doesn't decrypt")
        }
    }

    private func refused(_ why: String) -> VMSyncError {
        VMSyncError(.corrupt, "a key of \(subject) can't be taken: \(why)", hint: "vmsync key check")
    }
}
