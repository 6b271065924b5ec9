import Crypto
import Foundation
import VMSyncCore

/// What an entry of a roster does. (docs/protocol/trust.md, "Accounts")
package enum RosterChange: Sendable, Hashable, Codable {
    /// The account begins, with its first device.
    case found(PublicIdentity, recovery: RecoveryIdentity)
    case admit(PublicIdentity)
    /// A member is one no more. What it has signed of a VM counts up to the given statement, and of others not at all.
    /// From here on nothing is encrypted with older keys than these, which the device doesn't have.
    case revoke(DeviceID, heads: [VMID: ChainPoint], keys: [KeyMinimum] = [])
    /// A device comes in by the recovery key, and a new one takes the place of that.
    case recover(PublicIdentity, recovery: RecoveryIdentity)
    /// Another recovery key takes the place of the present one.
    case renew(recovery: RecoveryIdentity)
}

/// The oldest generation of a key that may still be used.
package struct KeyMinimum: Sendable, Hashable, Codable {
    package let subject: KeySubject
    package let generation: UInt32

    package init(subject: KeySubject, generation: UInt32) {
        self.subject = subject
        self.generation = generation
    }
}

/// What one entry says.
package struct RosterRecord: SignedContent {
    package static let purpose = "roster"
    package static let knownVersion = 1

    package var version = Self.knownVersion
    /// From 0.
    package var number: Int
    /// The hash of the entry before; nil in the first.
    var previous: ContentHash?
    /// The member that signs; nil for the recovery key.
    package var signer: DeviceID?
    package var change: RosterChange
}

package typealias RosterEntry = Signed<RosterRecord>

/// The devices of an account, as far as the entries that were read say it. Every entry is checked as it is taken in.
package struct Roster: Sendable, Hashable {
    /// More than anybody will ever have; a bound for what a server may send.
    package static let entriesMax = 10_000

    /// By their ids.
    package private(set) var members: [DeviceID: PublicIdentity] = [:]
    /// Those that were, and up to where their statements count.
    package private(set) var revoked: [DeviceID: Revoked] = [:]

    /// A device that was a member.
    package struct Revoked: Sendable, Hashable {
        package let identity: PublicIdentity
        package let heads: [VMID: ChainPoint]
    }

    /// Of the keys that were changed by revocations.
    package private(set) var keyMinimums: [KeySubject: UInt32] = [:]

    /// Nil only before the first entry.
    package private(set) var recovery: RecoveryIdentity?
    /// How many entries were taken in.
    package private(set) var count = 0
    /// The hash of the last one.
    package private(set) var last: ContentHash?
    /// The account: the hash of the first.
    package private(set) var account: ContentHash?

    /// Of no account yet.
    package init() {}

    /// Takes the next entry in.
    /// - Throws: `corrupt`, and nothing has changed, unless it follows what was taken in before, says something that can
    ///   be, and is signed by who may say it.
    package mutating func take(_ entry: RosterEntry) throws(VMSyncError) {
        let content: RosterRecord
        do throws(VMSyncError) {
            content = try entry.read()
        } catch {
            throw error.code == .corrupt ? Self.refused(count, "it can't be read") : error
        }
        guard count < Self.entriesMax else { throw Self.refused(count, "there are too many") }
        guard content.number == count, content.previous == last else {
            throw Self.refused(count, "it does not follow the one before")
        }
        try checkSignature(entry, content)
        try apply(content.change)
        if account == nil { account = entry.hash }
        last = entry.hash
        count += 1
    }

    private func checkSignature(_ entry: RosterEntry, _ content: RosterRecord) throws(VMSyncError) {
        let isSigned: Bool
        switch content.change {
        case .found(let founder, _):
            isSigned =
                count == 0 && content.signer == founder.id && entry.isSigned(by: founder)
        case .admit, .revoke, .renew:
            guard let signer = content.signer.flatMap({ members[$0] }) else {
                throw Self.refused(count, "who signed it is no member")
            }
            isSigned = entry.isSigned(by: signer)
        case .recover:
            isSigned =
                content.signer == nil && recovery.map { entry.isSigned(by: $0) } ?? false
        }
        guard isSigned else { throw Self.refused(count, "its signature is wrong") }
    }

    private mutating func apply(_ change: RosterChange) throws(VMSyncError) {
        switch change {
        case .found(let founder, let recovery):
            try admit(founder)
            self.recovery = recovery
        case .admit(let device): try admit(device)
        case .recover(let device, let recovery):
            try admit(device)
            self.recovery = recovery
        case .renew(let recovery): self.recovery = recovery
        case .revoke(let id, let heads, let keys):
            guard let identity = members.removeValue(forKey: id) else {
                throw Self.refused(count, "\(id) is no member")
            }
            revoked[id] = Revoked(identity: identity, heads: heads)
            for key in keys { keyMinimums[key.subject] = max(keyMinimums[key.subject] ?? 1, key.generation) }
        }
    }

    private mutating func admit(_ device: PublicIdentity) throws(VMSyncError) {
        guard members[device.id] == nil, revoked[device.id] == nil else {
            throw Self.refused(count, "\(device.id) is a member, or was one")
        }
        _ = try device.agreementKey()
        members[device.id] = device
    }

    private static func refused(_ number: Int, _ why: String) -> VMSyncError {
        VMSyncError(
            .corrupt, "entry \(number) of the list of your devices can't be believed: \(why)",
            hint: "the server may have been tampered with; vmsync doctor")
    }

    // MARK: New entries

    /// The first entry of an account.
    package static func founding(
        by device: DeviceKeys, recovery: RecoveryIdentity
    ) throws(VMSyncError) -> RosterEntry {
        try Roster().entry(.found(device.identity, recovery: recovery), by: device)
    }

    /// The next entry, signed by a member.
    package func entry(_ change: RosterChange, by device: DeviceKeys) throws(VMSyncError) -> RosterEntry {
        let content = RosterRecord(number: count, previous: last, signer: device.id, change: change)
        return try RosterEntry(content, by: device)
    }

    /// The next entry, by which `device` comes in with the recovery key.
    package func recovering(
        _ device: PublicIdentity, with key: RecoveryKey, next: RecoveryIdentity
    ) throws(VMSyncError) -> RosterEntry {
        let content = RosterRecord(
            number: count, previous: last, signer: nil, change: .recover(device, recovery: next))
        return try RosterEntry(content) { bytes throws(VMSyncError) in
            do {
                return Array(try key.signing.signature(for: bytes).rawRepresentation)
            } catch {
                throw VMSyncError(.bug, "the recovery key can't sign: \(error)")
            }
        }
    }
}
