import VMSyncCore
import VMSyncPolicy

/// One run of a sync server; several may share a store. Its form is that of `Identifier`.
package struct ServerID: Hashable, Sendable, CustomStringConvertible, RawRepresentable {
    package let rawValue: String
    package init?(rawValue: String) {
        guard Identifier.isValid(rawValue) else { return nil }
        self.rawValue = rawValue
    }
    package static func random() -> ServerID { ServerID(unchecked: Identifier.random()) }
    private init(unchecked rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }
}

/// A device as it is stored.
package struct StoredDevice: Hashable, Sendable {
    package let id: DeviceID
    package let name: String
    package let platform: String
    /// JSON text of the device's own making, if it told what it can.
    package let capabilities: String?
    package let joined: Timestamp
    package let lastSeen: Timestamp
    /// Whether it has lately been there, at any of the servers.
    package let isConnected: Bool
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
    package let name: String
    package let definition: [UInt8]
    package let chunks: [ContentHash]

    package init(id: VMID, name: String, definition: [UInt8], chunks: [ContentHash]) {
        self.id = id
        self.name = name
        self.definition = definition
        self.chunks = chunks
    }
}

/// A VM as it is stored, its lease settled at the time of reading.
package struct StoredVM: Hashable, Sendable {
    package let id: VMID
    package let name: String
    package let definition: [UInt8]
    package let created: Timestamp
    /// Rises with every change.
    package let revision: UInt64
    package let lease: LeaseState
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

/// A checkpoint, and the blobs that hold its pack, one behind the other.
package struct StoredCheckpoint: Hashable, Sendable {
    package let record: CheckpointRecord
    package let blobs: [StoredBlob]
}

/// What somebody did to a store that is of interest to who listens to its server.
package enum StoreChange: Sendable, Hashable {
    /// A VM is new, another one than before, or gone.
    case vm(VMID)
    case devices
    /// Any of it may have changed without a word.
    case everything
}
