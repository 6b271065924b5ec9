import Foundation
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

/// `POST /accounts`
package struct FoundRequest: Sendable, Codable {
    /// As the server printed it.
    package let invitation: String
    /// The first of the account's list of devices.
    package let entry: RosterEntry

    package init(invitation: String, entry: RosterEntry) {
        self.invitation = invitation
        self.entry = entry
    }
}

/// `POST /join`
package struct JoinRequest: Sendable, Codable {
    package let identity: PublicIdentity
    /// The part of an invitation's code that the server may know; absent from a device that is approved by its id.
    package let ticket: String?
    /// That the device has the other part.
    package let proof: Data?

    package init(identity: PublicIdentity, ticket: String? = nil, proof: Data? = nil) {
        self.identity = identity
        self.ticket = ticket
        self.proof = proof
    }
}

/// `GET /join`: what has become of the caller's application.
package struct JoinState: Sendable, Codable {
    /// The account that it is a member of; absent while it waits.
    package let account: ContentHash?
    /// What the member that admitted it says to it.
    package let welcome: Data?

    package init(account: ContentHash?, welcome: Data?) {
        self.account = account
        self.welcome = welcome
    }
}

/// A device that asks to become a member.
package struct Applicant: Sendable, Codable {
    package let identity: PublicIdentity
    /// The hash of its ticket.
    package let ticket: ContentHash?
    package let proof: Data?

    package init(identity: PublicIdentity, ticket: ContentHash?, proof: Data?) {
        self.identity = identity
        self.ticket = ticket
        self.proof = proof
    }
}

/// `GET /applicants`
package struct ApplicantList: Sendable, Codable {
    package let applicants: [Applicant]
    package init(applicants: [Applicant]) { self.applicants = applicants }
}

/// `GET /roster`
package struct RosterEntries: Sendable, Codable {
    package let entries: [RosterEntry]
    package init(entries: [RosterEntry]) { self.entries = entries }
}

/// `POST /roster`, `POST /recovery/{id}`
package struct RosterAddition: Sendable, Codable {
    package let entry: RosterEntry
    /// To the device that is admitted.
    package let welcome: Data?
    package let grants: [KeyGrant]

    package init(entry: RosterEntry, welcome: Data? = nil, grants: [KeyGrant]) {
        self.entry = entry
        self.welcome = welcome
        self.grants = grants
    }
}

/// `GET /grants`, `POST /grants`
package struct GrantList: Sendable, Codable {
    package let grants: [KeyGrant]
    package init(grants: [KeyGrant]) { self.grants = grants }
}

/// `GET /recovery/{id}`: all that who has the recovery key needs.
package struct RecoveryAnswer: Sendable, Codable {
    package let entries: [RosterEntry]
    package let grants: [KeyGrant]

    package init(entries: [RosterEntry], grants: [KeyGrant]) {
        self.entries = entries
        self.grants = grants
    }
}

/// `POST /invitations`
package struct InvitationRequest: Sendable, Codable {
    /// The part of the code that the server may know.
    package let ticket: String
    package init(ticket: String) { self.ticket = ticket }
}

/// The answer to it.
package struct InvitationAnswer: Sendable, Codable {
    package let expires: Timestamp
    package init(expires: Timestamp) { self.expires = expires }
}

/// A code to join with, for people.
package struct Invitation: Sendable, Codable {
    /// In groups of four letters.
    package let invitation: String
    package let expires: Timestamp

    package init(invitation: String, expires: Timestamp) {
        self.invitation = invitation
        self.expires = expires
    }
}

/// `GET /servers`, and the `servers` event.
package struct ServerList: Sendable, Codable {
    package let urls: [String]
    package init(urls: [String]) { self.urls = urls }
}

/// `GET /devices`, and the `devices` event.
package struct DeviceList: Sendable, Codable {
    package let devices: [DeviceRecord]
    package init(devices: [DeviceRecord]) { self.devices = devices }
}

/// Chunks asked for, missing or needed.
package struct HashList: Sendable, Codable {
    package let hashes: [ContentHash]
    package init(hashes: [ContentHash]) { self.hashes = hashes }
}

/// `POST /vms`
package struct CreateVMRequest: Sendable, Codable {
    package let id: VMID
    /// Encrypted.
    package let description: Data
    package let chunks: [ContentHash]

    package init(id: VMID, description: Data, chunks: [ContentHash]) {
        self.id = id
        self.description = description
        self.chunks = chunks
    }
}

/// `GET /vms`
package struct VMList: Sendable, Codable {
    package let vms: [VMRecord]
    package init(vms: [VMRecord]) { self.vms = vms }
}

/// `POST /vms/{id}/lease`
package struct LeaseRequest: Sendable, Codable {
    /// Whether to take it from whoever holds it.
    package let force: Bool
    /// The epoch on which that was decided: if it is over, nothing happens.
    package let epoch: Epoch?

    package init(force: Bool, epoch: Epoch? = nil) {
        self.force = force
        self.epoch = epoch
    }
}

/// `POST /vms/{id}/lease/handover`: the holder that the server knows has handed the VM over directly.
package struct HandoverReport: Sendable, Codable {
    package let from: DeviceID
    /// Under which the server knows it.
    package let seen: Epoch
    /// Under which the device that reports has it.
    package let epoch: Epoch
    /// The signed word of `from`.
    package let word: Data?

    package init(from: DeviceID, seen: Epoch, epoch: Epoch, word: Data?) {
        self.from = from
        self.seen = seen
        self.epoch = epoch
        self.word = word
    }
}

/// The lease's epoch: the answer to taking it.
package struct LeaseEpoch: Sendable, Codable {
    package let epoch: Epoch
    package init(epoch: Epoch) { self.epoch = epoch }
}

/// `DELETE /vms/{id}/lease`
package struct LeaseRelease: Sendable, Codable {
    package let epoch: Epoch
    /// What the device has signed of it, if the lease was moved to it.
    package let word: Data?

    package init(epoch: Epoch, word: Data?) {
        self.epoch = epoch
        self.word = word
    }
}

/// `POST …/refuse`, `POST …/fail`
package struct ReasonReport: Sendable, Codable {
    /// An encrypted `Reason`.
    package let reason: Data
    package init(reason: Data) { self.reason = reason }
}

/// `GET /vms/{id}/checkpoints`
package struct CheckpointList: Sendable, Codable {
    package let checkpoints: [CheckpointRecord]
    package init(checkpoints: [CheckpointRecord]) { self.checkpoints = checkpoints }
}

/// `GET /vms/{id}/spans`
package struct SpanList: Sendable, Codable {
    package let spans: [SpanRecord]
    package init(spans: [SpanRecord]) { self.spans = spans }
}

/// `POST /vms/{id}/forget`
package struct ForgetRequest: Sendable, Codable {
    package let sequences: [Sequence]
    /// Whether only to say what would be.
    package let isTrial: Bool?

    package init(sequences: [Sequence], isTrial: Bool) {
        self.sequences = sequences
        self.isTrial = isTrial
    }

    enum CodingKeys: String, CodingKey {
        case sequences
        case isTrial = "dry_run"
    }
}

/// `POST /vms/{id}/prune`
package struct PruneRequest: Sendable, Codable {
    package let isTrial: Bool?
    package init(isTrial: Bool) { self.isTrial = isTrial }

    enum CodingKeys: String, CodingKey { case isTrial = "dry_run" }
}

/// What was taken out of a history, or would be.
package struct PruneReport: Sendable, Codable {
    package let sequences: [Sequence]
    /// How many packs go with `prune`.
    package let packs: Int
    /// Of these.
    package let bytes: UInt64

    package init(sequences: [Sequence], packs: Int, bytes: UInt64) {
        self.sequences = sequences
        self.packs = packs
        self.bytes = bytes
    }
}

/// `POST /vms/{id}/switches`
package struct SwitchRequest: Sendable, Codable {
    package let to: DeviceID
    /// Whether the guest is to be shut down for it; nil is no.
    package let isCold: Bool?

    package init(to: DeviceID, isCold: Bool = false) {
        self.to = to
        self.isCold = isCold ? true : nil
    }

    enum CodingKeys: String, CodingKey {
        case to
        case isCold = "cold"
    }
}

/// `POST …/ready`
package struct ReadyReport: Sendable, Codable {
    /// The checkpoint that the target holds.
    package let sequence: Sequence
    package init(sequence: Sequence) { self.sequence = sequence }
}

/// `POST …/report`
package struct StepReport: Sendable, Codable {
    /// Milliseconds by the name of the step.
    package let steps: [String: Double]
    package init(steps: [String: Double]) { self.steps = steps }
}

/// The `deleted` event.
package struct DeletedVM: Sendable, Codable {
    package let id: VMID
    package init(id: VMID) { self.id = id }
}

/// `GET /healthz`
package struct Health: Sendable, Codable {
    package let status: String
    /// By the server's clock.
    package let time: Timestamp

    package init(time: Timestamp) {
        status = "ok"
        self.time = time
    }
}

/// `PUT /vms/ID/standing`
package struct StandingReport: Hashable, Sendable, Codable {
    /// The checkpoint that the device holds.
    package let held: Sequence
    /// How it stands, encrypted.
    package let note: Data?

    package init(held: Sequence, note: Data?) {
        self.held = held
        self.note = note
    }
}
