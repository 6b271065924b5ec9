import Foundation
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets
import VMSyncStore

/// Who belongs together. The devices decide that by what they sign; the server keeps it, in order, and refuses what they
/// would refuse.
extension SyncService {
    /// How long an invitation can be used.
    static let invitationLifetime: Duration = .seconds(24 * 60 * 60)
    /// How long a device waits to be admitted, without asking again.
    private static let applicationLifetime: Duration = .seconds(60 * 60)

    /// Adds an invitation for a new account to a store, also that of a server in another process.
    static func invite(to metadata: some MetadataStore) async throws -> Invitation {
        let code = InvitationCode.random(.newAccount)
        return Invitation(
            invitation: code.text,
            expires: try await metadata.invite(
                InvitationCode.hash(ofTicket: code.ticket), to: nil, lifetime: invitationLifetime))
    }

    func found(_ request: FoundRequest, by device: DeviceID) async throws {
        let code = try InvitationCode(typed: request.invitation)
        var roster = Roster()
        try Self.take(request.entry, into: &roster)
        guard roster.members.keys.elementsEqual([device]), let account = roster.account, let recovery = roster.recovery
        else { throw VMSyncError(.invalidInput, "an account begins with the device that makes it") }
        try await metadata.found(
            account, by: device, entry: Array(request.entry.bytes), recovery: recovery.id,
            invitation: InvitationCode.hash(ofTicket: code.ticket))
    }

    // MARK: Admission

    func invite(_ request: InvitationRequest, by caller: Caller) async throws -> InvitationAnswer {
        InvitationAnswer(
            expires: try await metadata.invite(
                InvitationCode.hash(ofTicket: request.ticket), to: caller.account, lifetime: Self.invitationLifetime))
    }

    func apply(_ request: JoinRequest, by device: DeviceID) async throws {
        guard request.identity.id == device else {
            throw VMSyncError(.invalidInput, "a device asks to join for itself only")
        }
        guard request.proof?.count ?? 0 <= APILimits.proofBytesMax,
            request.identity.certificate.count <= APILimits.entryBytesMax
        else { throw VMSyncError(.invalidInput, "this can't be a device's identity and its proof") }
        let account = try await metadata.apply(
            Application(
                device: device, identity: Array(try WireJSON.encode(request.identity).readableBytesView),
                ticket: request.ticket.map(InvitationCode.hash(ofTicket:)), proof: request.proof.map { Array($0) }),
            lifetime: Self.applicationLifetime)
        if let account { events.publishDevices(to: account) }
    }

    func joinState(of device: DeviceID) async throws -> JoinState {
        // A member that asks again is told where it is, also long after.
        if let membership = try await metadata.membership(of: device), membership.isMember {
            let welcome = try await metadata.application(of: device)?.welcome
            return JoinState(account: membership.account, welcome: welcome.map { Data($0) })
        }
        guard let stored = try await metadata.application(of: device) else {
            throw VMSyncError(.notFound, "this device doesn't ask to join, or no more", hint: "vmsync join")
        }
        return JoinState(account: stored.account, welcome: stored.welcome.map { Data($0) })
    }

    func applicants(for caller: Caller) async throws -> ApplicantList {
        ApplicantList(applicants: try await metadata.applications(to: caller.account).map(Self.applicant))
    }

    func applicant(_ device: DeviceID) async throws -> Applicant {
        guard let stored = try await metadata.application(of: device), stored.account == nil else {
            throw VMSyncError(
                .notFound, "no device with this id asks to join", hint: "on that device: vmsync join")
        }
        return try Self.applicant(stored.application)
    }

    private static func applicant(_ application: Application) throws -> Applicant {
        Applicant(
            identity: try JSONDecoder().decode(PublicIdentity.self, from: Data(application.identity)),
            ticket: application.ticket, proof: application.proof.map { Data($0) })
    }

    // MARK: The list of devices

    func roster(from first: Int, for caller: Caller) async throws -> RosterEntries {
        RosterEntries(entries: try await entries(of: caller.account, from: first))
    }

    func append(_ addition: RosterAddition, by caller: Caller) async throws {
        let record = try addition.entry.read()
        let effect: RosterEffect
        switch record.change {
        case .admit(let device):
            guard addition.welcome?.count ?? 0 <= APILimits.proofBytesMax else {
                throw VMSyncError(.invalidInput, "a welcome has at most \(APILimits.proofBytesMax) bytes")
            }
            effect = .admit(device.id, welcome: addition.welcome.map { Array($0) })
        case .revoke(let device, let heads, _): effect = .revoke(device, heads: heads.mapValues(\.sequence))
        case .renew(let recovery): effect = .renew(recovery: recovery.id)
        case .found, .recover:
            throw VMSyncError(.invalidInput, "a member neither begins an account nor recovers it")
        }
        try await append(addition, record, effect, to: caller.account)
        guard case .revoke = effect else { return }
        for vm in try await metadata.vms(of: caller.account) { try publish(vm) }
    }

    private func append(
        _ addition: RosterAddition, _ record: RosterRecord, _ effect: RosterEffect, to account: ContentHash
    ) async throws {
        var roster = Roster()
        for entry in try await entries(of: account, from: 0) { try roster.take(entry) }
        guard record.number == roster.count else {
            throw VMSyncError(
                .outOfOrder, "the list of devices has \(roster.count) entries", hint: "try the same again")
        }
        try Self.take(addition.entry, into: &roster)
        try await metadata.append(
            Array(addition.entry.bytes), number: record.number, to: account, effect,
            grants: try Self.stored(addition.grants))
        events.publishDevices(to: account)
    }

    private func entries(of account: ContentHash, from first: Int) async throws -> [RosterEntry] {
        try await metadata.roster(of: account, from: first).map { try RosterEntry(bytes: Data($0)) }
    }

    /// What comes from a device is its fault, not that of the store.
    private static func take(_ entry: RosterEntry, into roster: inout Roster) throws(VMSyncError) {
        do throws(VMSyncError) { try roster.take(entry) } catch {
            throw error.code == .corrupt ? VMSyncError(.invalidInput, error.message) : error
        }
    }

    // MARK: Keys

    func grants(for caller: Caller) async throws -> GrantList {
        GrantList(grants: try await grants(for: .device(caller.device), of: caller.account))
    }

    func add(_ list: GrantList, by caller: Caller) async throws {
        try await metadata.add(try Self.stored(list.grants), of: caller.account)
        events.publishDevices(to: caller.account)
    }

    private func grants(for recipient: KeyRecipient, of account: ContentHash) async throws -> [KeyGrant] {
        try await metadata.grants(for: "\(recipient)", of: account).map {
            try JSONDecoder().decode(KeyGrant.self, from: Data($0))
        }
    }

    private static func stored(_ grants: [KeyGrant]) throws -> [StoredGrant] {
        guard grants.count <= APILimits.grantsMax else {
            throw VMSyncError(.invalidInput, "at most \(APILimits.grantsMax) keys can be granted at once")
        }
        return try grants.map {
            StoredGrant(
                subject: "\($0.subject)", generation: $0.generation, recipient: "\($0.recipient)",
                content: Array(try WireJSON.encode($0).readableBytesView))
        }
    }

    // MARK: Recovery

    func recovery(_ recovery: ContentHash) async throws -> RecoveryAnswer {
        let account = try await account(recovery)
        return RecoveryAnswer(
            entries: try await entries(of: account, from: 0), grants: try await grants(for: .recovery, of: account))
    }

    func recover(_ recovery: ContentHash, _ addition: RosterAddition, by device: DeviceID) async throws {
        let account = try await account(recovery)
        let record = try addition.entry.read()
        guard case .recover(let identity, let next) = record.change, identity.id == device else {
            throw VMSyncError(.invalidInput, "a device recovers an account for itself only")
        }
        try await append(addition, record, .recover(device, recovery: next.id), to: account)
    }

    private func account(_ recovery: ContentHash) async throws -> ContentHash {
        guard let account = try await metadata.account(recovery: recovery) else {
            throw VMSyncError(
                .notFound, "no account on this server has this recovery key",
                hint: "after each use another one takes its place; the last one counts")
        }
        return account
    }
}
