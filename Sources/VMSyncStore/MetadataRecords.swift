import Foundation
import VMSyncCore
import VMSyncPolicy

/// One run of a sync server; several may share a store. Its form is that of `Identifier`.
package struct ServerRun: Hashable, Sendable, CustomStringConvertible, RawRepresentable {
    package let rawValue: String
    package init?(rawValue: String) {
        guard Identifier.isValid(rawValue) else { return nil }
        self.rawValue = rawValue
    }
    package static func random() -> ServerRun { ServerRun(unchecked: Identifier.random()) }
    private init(unchecked rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }
}

/// A device of an account, as it is stored.
package struct StoredDevice: Hashable, Sendable {
    package let id: DeviceID
    /// What the device tells of itself; only devices read it.
    package let profile: [UInt8]?
    package let joined: Timestamp
    package let lastSeen: Timestamp
    /// Whether it has lately been there, at any of the servers.
    package let isConnected: Bool
}

/// Whose a device is.
package struct Membership: Hashable, Sendable {
    package let account: ContentHash
    /// False for one that was revoked.
    package let isMember: Bool
}

/// A device that asks to become a member of an account.
package struct Application: Hashable, Sendable {
    package let device: DeviceID
    /// Its public identity, as JSON.
    package let identity: [UInt8]
    /// The hash of the ticket that it came with, and its proof that it has the rest of the code.
    package let ticket: ContentHash?
    package let proof: [UInt8]?

    package init(device: DeviceID, identity: [UInt8], ticket: ContentHash?, proof: [UInt8]?) {
        self.device = device
        self.identity = identity
        self.ticket = ticket
        self.proof = proof
    }
}

/// An application, and what has become of it.
package struct StoredApplication: Hashable, Sendable {
    package let application: Application
    /// The account that it was admitted to.
    package let account: ContentHash?
    /// What the member that admitted it says to it.
    package let welcome: [UInt8]?
}

/// What a new entry does to the list of an account's devices.
package enum RosterEffect: Hashable, Sendable {
    /// With what is said to the device.
    case admit(DeviceID, welcome: [UInt8]?)
    /// With the last checkpoint of each VM that counts.
    case revoke(DeviceID, heads: [VMID: Sequence])
    /// The device comes in, and the account has another recovery key from here on.
    case recover(DeviceID, recovery: ContentHash)
    case renew(recovery: ContentHash)
}

/// A key for somebody; the content is read by devices only.
package struct StoredGrant: Hashable, Sendable {
    package let subject: String
    package let generation: UInt32
    package let recipient: String
    package let content: [UInt8]

    package init(subject: String, generation: UInt32, recipient: String, content: [UInt8]) {
        self.subject = subject
        self.generation = generation
        self.recipient = recipient
        self.content = content
    }
}

/// A chunk and where its bytes are.
package struct StoredChunk: Hashable, Sendable {
    package let hash: ContentHash
    package let blob: BlobID
    /// In bytes.
    package let size: UInt64

    package init(hash: ContentHash, blob: BlobID, size: UInt64) {
        self.hash = hash
        self.blob = blob
        self.size = size
    }
}

/// A VM to be created.
package struct NewVM: Sendable {
    package let id: VMID
    package let account: ContentHash
    /// Encrypted.
    package let description: [UInt8]
    package let chunks: [ContentHash]

    package init(id: VMID, account: ContentHash, description: [UInt8], chunks: [ContentHash]) {
        self.id = id
        self.account = account
        self.description = description
        self.chunks = chunks
    }
}

/// A VM as it is stored, its lease settled at the time of reading.
package struct StoredVM: Hashable, Sendable {
    package let id: VMID
    package let account: ContentHash
    /// Encrypted.
    package let description: [UInt8]
    package let created: Timestamp
    /// Rises with every change.
    package let revision: UInt64
    package let lease: LeaseState
    /// Encrypted; nil if nothing is set for it.
    package let policy: [UInt8]?
    /// What devices have said of themselves and this VM, by device.
    package let standings: [StoredStanding]
}

/// What a device has said of itself and one VM.
package struct StoredStanding: Hashable, Sendable {
    package let device: DeviceID
    /// The checkpoint that it holds.
    package let held: Sequence
    /// Encrypted.
    package let note: [UInt8]?
    package let told: Timestamp
}

/// What a decision may look at besides the lease.
package struct DecisionContext: Sendable {
    /// The store's time, in the transaction.
    package let now: Timestamp
    /// The checkpoint that stands at the sequence asked for.
    package let known: CheckpointRecord?
}

/// Where the bytes of a pack are that a commit brings.
package enum PackPlace: Sendable, Hashable {
    /// In a blob of their own.
    case blob(BlobID)
    /// In these chunks, one behind the other.
    case chunks([ContentHash])
}

/// A commit's bytes, and the sequence whose present checkpoint the decision wants to see.
package struct CommitContent: Sendable {
    package let sequence: Sequence
    package let place: PackPlace

    package init(sequence: Sequence, place: PackPlace) {
        self.sequence = sequence
        self.place = place
    }
}

/// A blob, and how many bytes it has.
package struct StoredBlob: Hashable, Sendable {
    package let id: BlobID
    package let size: UInt64
}

/// A pack, and the blobs that hold it, one behind the other.
package struct StoredPack: Hashable, Sendable {
    package let size: UInt64
    package let checksum: ContentHash
    package let blobs: [StoredBlob]
}

/// A pack to be stored.
package struct NewPack: Hashable, Sendable {
    package let id: PackID
    package let size: UInt64
    package let checksum: ContentHash
    /// What a device has signed of a span; nil for a checkpoint's own pack.
    package let link: Data?
    package let place: PackPlace

    package init(id: PackID, size: UInt64, checksum: ContentHash, link: Data?, place: PackPlace) {
        self.id = id
        self.size = size
        self.checksum = checksum
        self.link = link
        self.place = place
    }
}

/// What a share gives to who opens it.
package struct ShareContent: Hashable, Sendable {
    /// Encrypted.
    package let description: [UInt8]
    /// Bytes of the pack, encrypted, and their SHA-256.
    package let size: UInt64
    package let checksum: ContentHash
    /// Of the pack, in order.
    package let chunks: [ContentHash]
    /// What a VM made of it needs besides.
    package let images: [ContentHash]

    package init(
        description: [UInt8], size: UInt64, checksum: ContentHash, chunks: [ContentHash], images: [ContentHash]
    ) {
        self.description = description
        self.size = size
        self.checksum = checksum
        self.chunks = chunks
        self.images = images
    }
}

/// A share to be kept.
package struct NewShare: Hashable, Sendable {
    package let terms: ShareTerms
    package let tag: String
    package let vm: VMID
    package let device: DeviceID
    package let content: ShareContent
    /// Shares that an account may have open at once.
    package let openMax: Int

    package init(
        terms: ShareTerms, tag: String, vm: VMID, device: DeviceID, content: ShareContent, openMax: Int
    ) {
        self.terms = terms
        self.tag = tag
        self.vm = vm
        self.device = device
        self.content = content
        self.openMax = openMax
    }
}

/// What was taken out of a history.
package struct Pruned: Hashable, Sendable {
    /// Off the list, or gone altogether.
    package let checkpoints: [Sequence]
    package let packs: Int
    /// Of the packs.
    package let bytes: UInt64
    /// That held them.
    package let blobs: [BlobID]
}

/// What somebody did to a store that is of interest to who listens to its server.
package enum StoreChange: Sendable, Hashable {
    /// A VM is new, another one than before, or gone.
    case vm(VMID)
    case devices
    case servers
    /// Any of it may have changed without a word.
    case everything
}
