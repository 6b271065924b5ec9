import VMSyncPolicy

/// The limits of the sync API, the same for client and server. (docs/protocol/sync-api.md)
package enum APILimits {
    /// A chunk: large enough that a base image has few of them, small enough that one is repeated cheaply.
    package static let chunkBytesMax = 4 << 20
    /// A pack that travels in one piece; a longer one goes in chunks. As long as a chunk, because a server holds either
    /// in memory until it is stored.
    package static let wholePackBytesMax = chunkBytesMax
    /// Chunks of one pack: those of the longest.
    package static let packChunksMax = Int(packBytesMax) / chunkBytesMax + 1
    /// Hashes in one question for missing chunks: 4,096 chunks are 16 GiB of image, and 280 KB of JSON.
    package static let missingHashesMax = 4096
    /// Chunks of one VM: a terabyte of base image.
    package static let vmChunksMax = 262_144
    /// An encrypted description of a VM.
    package static let descriptionBytesMax = 64 << 10
    /// What a device tells the others of itself, encrypted.
    package static let profileBytesMax = 64 << 10
    /// What is set for a VM, encrypted: as many settings as a layer may have.
    package static let policyBytesMax = 64 << 10
    /// How a device says that it stands, encrypted.
    package static let standingBytesMax = 4 << 10
    /// Signed records: what is said of a checkpoint, an entry of a roster.
    package static let statementBytesMax = 6 << 10
    package static let entryBytesMax = 64 << 10
    /// Keys in one request: of a thousand VMs, for all devices of a person.
    package static let grantsMax = 10_000
    /// What the two sides of a join prove to each other.
    package static let proofBytesMax = 64
    package static let packBytesMax = HistoryOutline.packBytesMax
    /// Checkpoints in one answer.
    package static let checkpointPageMax = 1000
    /// Checkpoints in one part of an outline: 2 MB of JSON.
    package static let outlinePageMax = 10_000
    /// Spans in one answer.
    package static let spanPageMax = 1000
    /// What a person calls a checkpoint, encrypted.
    package static let tagBytesMax = 4 << 10
    /// A picture of 160 × 120 pixels, encrypted: at most 57,600 bytes and a little.
    package static let thumbnailBytesMax = 64 << 10
    /// Shares that an account may have open at once.
    package static let sharesMax = 1000
    /// The tag of a link.
    package static let shareTagLengthMax = 64
    /// The name of a switch's step.
    package static let stepNameLengthMax = 64
    /// Why a switch did not happen, encrypted.
    package static let reasonBytesMax = 16 << 10
    /// A JSON body that the server reads: a VM with all its chunks fits.
    package static let requestBytesMax = 24 << 20
    /// A JSON body or one event that the client reads: a server with hundreds of VMs fits.
    package static let answerBytesMax = 64 << 20
    /// Between two comments on an event stream that has nothing to say.
    package static let heartbeat: Duration = .seconds(15)
}
