import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import VMSyncCore
import VMSyncSecrets

extension SyncClient {
    /// Whether a sync server answers there.
    /// - Returns: the time by the server's clock.
    @discardableResult
    package func checkHealth() async throws -> Timestamp {
        try await ask(.GET, "/healthz", as: Health.self).time
    }

    /// The addresses of all servers on the same store.
    package func servers() async throws -> [String] { try await ask(.GET, "/servers", as: ServerList.self).urls }

    // MARK: Coming in

    /// Makes an account whose first device this is. The same again is no error.
    /// - Throws: `unauthorized` for an invitation that is unknown, used or expired.
    package func found(_ entry: RosterEntry, invitation: String) async throws {
        try await tell(.POST, "/accounts", FoundRequest(invitation: invitation, entry: entry))
    }

    /// Asks to become a member of an account.
    /// - Throws: `unauthorized` for a ticket that is unknown, used or expired.
    package func apply(_ request: JoinRequest) async throws { try await tell(.POST, "/join", request) }

    /// What has become of it.
    /// - Throws: `notFound` if this device hasn't asked, or too long ago.
    package func joinState() async throws -> JoinState { try await ask(.GET, "/join") }

    /// What who has a recovery key needs to come in.
    /// - Throws: `notFound` if no account has it.
    package func recovery(_ recovery: RecoveryIdentity) async throws -> RecoveryAnswer {
        try await ask(.GET, "/recovery/\(recovery.id)")
    }

    /// Comes in by a recovery key, in whose place another comes.
    package func recover(_ recovery: RecoveryIdentity, _ addition: RosterAddition) async throws {
        try await tell(.POST, "/recovery/\(recovery.id)", addition)
    }

    // MARK: The account

    /// A ticket with which one more device can ask to join.
    package func invite(ticket: String) async throws -> Timestamp {
        try await ask(.POST, "/invitations", InvitationRequest(ticket: ticket), as: InvitationAnswer.self).expires
    }

    /// Those that ask to join with a ticket of this account.
    package func applicants() async throws -> [Applicant] {
        try await ask(.GET, "/applicants", as: ApplicantList.self).applicants
    }

    /// The one that asks to join and has this id.
    package func applicant(_ device: DeviceID) async throws -> Applicant {
        try await ask(.GET, "/applicants/\(device)")
    }

    /// The entries of the list of devices from number `first` on.
    package func roster(from first: Int) async throws -> [RosterEntry] {
        try await ask(.GET, "/roster?from=\(first)", as: RosterEntries.self).entries
    }

    /// Adds an entry to the list of devices.
    /// - Throws: `outOfOrder` if somebody else has added one meanwhile.
    package func append(_ addition: RosterAddition) async throws { try await tell(.POST, "/roster", addition) }

    /// The keys that were granted to this device.
    package func grants() async throws -> [KeyGrant] { try await ask(.GET, "/grants", as: GrantList.self).grants }

    package func add(_ grants: [KeyGrant]) async throws { try await tell(.POST, "/grants", GrantList(grants: grants)) }

    package func devices() async throws -> [DeviceRecord] {
        try await ask(.GET, "/devices", as: DeviceList.self).devices
    }

    /// Tells the other devices of this one, encrypted.
    package func setProfile(_ profile: [UInt8]) async throws {
        try await put(profile, at: "/devices/self/profile")
    }
}
