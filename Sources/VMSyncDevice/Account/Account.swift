import Foundation
import Logging
import NIOPosix
import Synchronization
import VMSyncAPI
import VMSyncCheckpoint
import VMSyncCore
import VMSyncSecrets

/// This device's part in its account: keeps what it knows in step with the server, believes nothing that isn't signed by
/// who may say it, and encrypts and decrypts with the account's keys.
package final class Account: Sendable {
    let keys: DeviceKeys
    private let path: String
    private let client: SyncClient
    private let logger: Logger
    private let state: Mutex<AccountState>
    private let writing = Mutex<Void>(())

    /// - Parameter path: of `account.json`.
    init(_ state: AccountState, keys: DeviceKeys, path: String, client: SyncClient, logger: Logger) {
        self.keys = keys
        self.path = path
        self.client = client
        self.logger = logger
        self.state = Mutex(state)
    }

    /// The account that this device has joined. Blocking.
    /// - Throws: `wrongState` if it has joined none.
    static func load(
        _ folders: DeviceFolders, client: SyncClient, logger: Logger
    ) throws(VMSyncError) -> Account {
        guard let keys = try DeviceKeys.load(folders),
            let state = try AtomicFile.read(AccountState.self, at: folders.account)
        else { throw VMSyncError(.wrongState, "this device has not joined an account", hint: "vmsync join") }
        return Account(state, keys: keys, path: folders.account, client: client, logger: logger)
    }

    var roster: Roster { state.withLock { $0.roster } }

    /// Writes down what is known now. Two at once write the same file one after the other, each the newest state; only
    /// threads of the pool for blocking calls wait for the disk.
    func save() async throws {
        try await NIOThreadPool.singleton.runIfActive { [self] in
            try writing.withLock { _ in try AtomicFile.write(state.withLock { $0 }, to: path, durable: true) }
        }
    }

    // MARK: Keys

    func key(of subject: KeySubject, _ generation: UInt32) throws(VMSyncError) -> SubjectKey {
        try state.withLock { state throws(VMSyncError) in try state.key(of: subject, generation) }
    }

    func hasKey(of subject: KeySubject, _ generation: UInt32) -> Bool {
        state.withLock { $0.keys[subject]?[generation] != nil }
    }

    /// What is to be encrypted with from now on.
    func newestKey(of subject: KeySubject) throws(VMSyncError) -> SubjectKey {
        try state.withLock { state throws(VMSyncError) in try state.newestKey(of: subject) }
    }

    /// Whether `digest` is that of a state with the digest `state`, under any generation of the key.
    func hasKey(of subject: KeySubject, withDigest digest: Data, of state: Hash128) -> Bool {
        let keys = self.state.withLock { $0.keys[subject].map { Array($0.values) } ?? [] }
        return keys.contains { Data($0.digest(of: state.description)) == digest }
    }

    /// Makes a key and grants it to all devices of the account.
    func makeKey(of subject: KeySubject) async throws {
        let key = SubjectKey.random(generation: 1)
        let grants = try state.withLock { state throws(VMSyncError) in
            state.put(key, of: subject)
            return try state.grants(of: key, subject, by: keys)
        }
        try await save()
        try await client.add(grants)
    }

    func encrypt(
        _ bytes: some Collection<UInt8>, _ purpose: StreamPurpose, of subject: KeySubject
    ) throws(VMSyncError) -> [UInt8] {
        let key = try newestKey(of: subject)
        return try Array(bytes).withRawBytes { bytes throws(VMSyncError) in
            try StreamEncryptor.encrypt(bytes, with: key, purpose, salt: StreamEncryptor.randomSalt())
        }
    }

    /// - Throws: `unauthorized` without the key; `corrupt` unless these are just what they are said to be.
    func decrypt(
        _ bytes: some Collection<UInt8>, _ purpose: StreamPurpose, of subject: KeySubject
    ) throws(VMSyncError) -> [UInt8] {
        try Array(bytes).withRawBytes { bytes throws(VMSyncError) in
            let known = try self.key(of: subject, try StreamDecryptor.generation(of: bytes))
            return try StreamDecryptor.open(bytes, with: known, purpose)
        }
    }

    // MARK: In step with the server

    /// Takes in what is new in the list of devices, and the keys that were granted since.
    func refresh() async throws {
        let entries = try await client.roster(from: roster.count)
        try state.withLock { state throws(VMSyncError) in try state.take(entries) }
        if !entries.isEmpty { try await save() }
        try await fetchKeys()
        try await grantWhatIsOwed()
    }

    /// Whoever let a device in may not have had all keys; what this one has it gets from this one too.
    private func grantWhatIsOwed() async throws {
        let owed = state.withLock { $0.owed }
        guard !owed.isEmpty else { return }
        let grants = try state.withLock { state throws(VMSyncError) in
            var grants: [KeyGrant] = []
            for id in owed where id != keys.id {
                if let device = state.roster.members[id] { grants += try state.grants(to: device, by: keys) }
            }
            return grants
        }
        try await client.add(grants)
        state.withLock { $0.owed.subtract(owed) }
        try await save()
    }

    /// Takes the keys that were granted to this device and that it doesn't have.
    private func fetchKeys() async throws {
        let grants = try await client.grants()
        let isNew = state.withLock { state in
            var isNew = false
            for grant in grants where !state.has(grant) {
                do {
                    state.put(try grant.open(by: keys, state.roster), of: grant.subject)
                    isNew = true
                } catch {
                    logger.warning("\(VMSyncError(error).message)")
                }
            }
            return isNew
        }
        if isNew { try await save() }
    }

    // MARK: Admission

    /// A code with which one more device can join; this device lets it in.
    func invite() async throws -> Invitation {
        let code = InvitationCode.random(.member)
        let expires = try await client.invite(ticket: code.ticket)
        state.withLock { $0.invitations.append(AccountState.OpenInvitation(code: code.text, expires: expires)) }
        try await save()
        return Invitation(invitation: code.text, expires: expires)
    }

    /// Lets in who proves to have a code that this device has given out.
    func answerApplicants() async throws {
        let now = Timestamp.now
        let codes = state.withLock { state in
            state.invitations.removeAll { $0.expires < now }
            return state.invitations.compactMap { try? InvitationCode(typed: $0.code) }
        }
        guard !codes.isEmpty else { return }
        for applicant in try await client.applicants() {
            guard let proof = applicant.proof,
                let code = codes.first(where: { InvitationCode.hash(ofTicket: $0.ticket) == applicant.ticket })
            else { continue }
            guard code.isProof(proof, of: applicant.identity) else {
                logger.warning("a device that asks to join doesn't have the code that it was invited with")
                continue
            }
            try await admit(applicant.identity, by: code)
        }
    }

    /// Lets in the device with this id, which a person has compared.
    func approve(_ device: DeviceID) async throws {
        let applicant = try await client.applicant(device)
        guard applicant.identity.id == device else {
            throw VMSyncError(.corrupt, "the server shows another device than the one with this id")
        }
        try await admit(applicant.identity, by: nil)
    }

    private func admit(_ device: PublicIdentity, by code: InvitationCode?) async throws {
        try await change(asking: {}) { [keys] state, _ throws(VMSyncError) in
            let entry = try state.roster.entry(.admit(device), by: keys)
            let welcome = state.roster.account.flatMap { code?.welcome(to: $0) }
            return RosterAddition(entry: entry, welcome: welcome, grants: try state.grants(to: device, by: keys))
        }
        state.withLock { state in state.invitations.removeAll { $0.code == code?.text } }
        try await save()
        logger.notice("a device was admitted", metadata: ["device": "\(device.id)"])
    }

    /// Cuts a device off, and makes new keys for all that is written from now on.
    /// - Parameter heads: tells for each VM up to where what the device has signed counts; asked again if it has saved more
    ///   meanwhile.
    func revoke(_ device: DeviceID, heads: () async throws -> [VMID: ChainPoint]) async throws {
        guard device != keys.id else {
            throw VMSyncError(.invalidInput, "a device can't revoke itself", hint: "do it on another device")
        }
        try await change(asking: heads) { [keys] state, heads throws(VMSyncError) in
            guard state.roster.members[device] != nil else {
                throw VMSyncError(.notFound, "\(device) is no device of yours", hint: "vmsync devices")
            }
            var after = state
            for subject in state.keys.keys {
                let next = SubjectKey.random(generation: (state.keys[subject]?.keys.max() ?? 0) + 1)
                after.put(next, of: subject)
            }
            let minimums = try after.keys.keys.map { subject throws(VMSyncError) in
                KeyMinimum(subject: subject, generation: try after.newestKey(of: subject).generation)
            }
            let entry = try state.roster.entry(.revoke(device, heads: heads, keys: minimums), by: keys)
            try after.take([entry])
            // What the revoked device had granted counts no more: all keys are granted anew.
            var grants: [KeyGrant] = []
            for (subject, key) in after.allKeys { grants += try after.grants(of: key, subject, by: keys) }
            return RosterAddition(entry: entry, grants: grants)
        }
    }

    // MARK: The recovery key

    /// Makes another recovery key, which takes the place of the present one.
    func renewRecoveryKey() async throws -> RecoveryKey {
        let next = try RecoveryKey.random()
        try await change(asking: {}) { [keys] state, _ throws(VMSyncError) in
            let entry = try state.roster.entry(.renew(recovery: next.identity), by: keys)
            return RosterAddition(entry: entry, grants: try state.grants(to: next.identity, by: keys))
        }
        return next
    }

    /// Tries what would be done with `key` if no device were left.
    /// - Returns: how many keys it opens.
    /// - Throws: `unauthorized` if it isn't the account's; `corrupt` if it doesn't open what this device can.
    func check(_ key: RecoveryKey) async throws -> Int {
        try await refresh()
        let state = state.withLock { $0 }
        guard state.roster.recovery == key.identity else {
            throw VMSyncError(
                .unauthorized, "that is not the recovery key of this account",
                hint: "only the one that was shown last counts; make another: vmsync key export")
        }
        let grants = try await client.recovery(key.identity).grants
        let opened = grants.filter { (try? $0.open(by: key, state.roster)) != nil }
        let missing = state.allKeys.filter { subject, key in
            !opened.contains { $0.subject == subject && $0.generation == key.generation }
        }
        guard missing.isEmpty else {
            throw VMSyncError(
                .corrupt, "the recovery key doesn't open \(missing.count) of \(state.allKeys.count) keys",
                hint: "vmsync key export, which makes another one")
        }
        return opened.count
    }

    /// Adds an entry to the list of devices; again, if another device was faster.
    /// - Parameter facts: what the entry is made from besides, asked anew each time.
    private func change<Facts>(
        asking facts: () async throws -> Facts,
        _ make: (AccountState, Facts) throws(VMSyncError) -> RosterAddition
    ) async throws {
        for attempt in 1... {
            try await refresh()
            let known = try await facts()
            let addition = try make(state.withLock { $0 }, known)
            do {
                try await client.append(addition)
                return try await refresh()
            } catch let error as VMSyncError where error.code == .outOfOrder && attempt < Self.attemptsMax {
                continue
            }
        }
    }

    /// Other devices change the list at most a few times at once.
    private static let attemptsMax = 5
}
