import Foundation
import VMSyncCore
import VMSyncSecrets

/// What a device knows of its account: who belongs to it, the keys that it was granted, and the invitations that it has
/// made; `account.json`. All of it is secret.
struct AccountState: Sendable {
    private(set) var entries: [RosterEntry] = []
    private(set) var roster = Roster()
    private(set) var keys: [KeySubject: [UInt32: SubjectKey]] = [:]
    var invitations: [OpenInvitation] = []
    /// Devices that came in lately and may lack keys that this one has.
    var owed: Set<DeviceID> = []

    /// A code that this device has given out, until somebody has come in with it.
    struct OpenInvitation: Sendable, Codable {
        var code: String
        var expires: Timestamp
    }

    init() {}

    // MARK: What is known

    /// - Throws: `unauthorized` if it was never granted to this device.
    func key(of subject: KeySubject, _ generation: UInt32) throws(VMSyncError) -> SubjectKey {
        guard let key = keys[subject]?[generation] else {
            throw VMSyncError(
                .unauthorized, "this device has no key of \(subject), generation \(generation)",
                hint: "it comes when another of your devices is there: vmsync devices")
        }
        return key
    }

    /// What is to be encrypted with from now on.
    /// - Throws: `unauthorized` without a key, or if only keys are here that a revoked device has too.
    func newestKey(of subject: KeySubject) throws(VMSyncError) -> SubjectKey {
        try key(of: subject, max(keys[subject]?.keys.max() ?? 1, roster.keyMinimums[subject] ?? 1))
    }

    var allKeys: [(KeySubject, SubjectKey)] { keys.flatMap { subject, all in all.values.map { (subject, $0) } } }

    // MARK: What comes in

    /// Takes the entries that follow what is known; those that are known already are passed over.
    /// - Throws: `corrupt`; what came before the wrong one stays.
    mutating func take(_ more: [RosterEntry]) throws(VMSyncError) {
        for entry in more {
            let record = try entry.read()
            if record.number < roster.count {
                guard entry == entries[record.number] else {
                    throw VMSyncError(
                        .corrupt, "the server shows another list of your devices than before",
                        hint: "the server may have been tampered with")
                }
                continue
            }
            try roster.take(entry)
            entries.append(entry)
            switch record.change {
            case .admit(let device), .recover(let device, _): owed.insert(device.id)
            case .found, .revoke, .renew: break
            }
        }
    }

    mutating func put(_ key: SubjectKey, of subject: KeySubject) { keys[subject, default: [:]][key.generation] = key }

    func has(_ grant: KeyGrant) -> Bool { keys[grant.subject]?[grant.generation] != nil }

    /// Grants of all keys that are known, to one recipient.
    func grants(to device: PublicIdentity, by granter: DeviceKeys) throws(VMSyncError) -> [KeyGrant] {
        var grants: [KeyGrant] = []
        for (subject, key) in allKeys { grants.append(try KeyGrant(key, of: subject, to: device, by: granter)) }
        return grants
    }

    func grants(to recovery: RecoveryIdentity, by granter: DeviceKeys) throws(VMSyncError) -> [KeyGrant] {
        var grants: [KeyGrant] = []
        for (subject, key) in allKeys { grants.append(try KeyGrant(key, of: subject, to: recovery, by: granter)) }
        return grants
    }

    /// Grants of one key to all members and to the recovery key.
    func grants(
        of key: SubjectKey, _ subject: KeySubject, by granter: DeviceKeys
    ) throws(VMSyncError) -> [KeyGrant] {
        var grants: [KeyGrant] = []
        for member in roster.members.values { grants.append(try KeyGrant(key, of: subject, to: member, by: granter)) }
        if let recovery = roster.recovery { grants.append(try KeyGrant(key, of: subject, to: recovery, by: granter)) }
        return grants
    }
}

/// As it is kept.
extension AccountState: Codable {
    private enum CodingKeys: String, CodingKey { case entries, keys, invitations, owed }

    private struct StoredKey: Codable {
        var subject: KeySubject
        var key: SubjectKey
    }

    init(from decoder: any Decoder) throws {
        self.init()
        let container = try decoder.container(keyedBy: CodingKeys.self)
        try take(try container.decode([RosterEntry].self, forKey: .entries))
        for stored in try container.decode([StoredKey].self, forKey: .keys) {
            put(stored.key, of: stored.subject)
        }
        invitations = try container.decode([OpenInvitation].self, forKey: .invitations)
        owed = try container.decode(Set<DeviceID>.self, forKey: .owed)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(entries, forKey: .entries)
        try container.encode(allKeys.map { StoredKey(subject: $0, key: $1) }, forKey: .keys)
        try container.encode(invitations, forKey: .invitations)
        try container.encode(owed, forKey: .owed)
    }
}
