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
    /// A VM's definition, as bytes.
    package static let definitionBytesMax = 64 << 10
    /// What a device tells of itself, as JSON.
    package static let capabilitiesBytesMax = 64 << 10
    /// The words for a device's platform.
    package static let platformLengthMax = 64
    /// A pack: the whole memory and disk of any VM that a person's device runs.
    package static let packBytesMax: UInt64 = 256 << 30
    /// The digest of a checkpoint.
    package static let digestLengthMax = 128
    /// Checkpoints in one answer.
    package static let checkpointPageMax = 1000
    /// The name of a switch's step.
    package static let stepNameLengthMax = 64
    /// A message or hint that one device sends to the others.
    package static let reasonLengthMax = 2000
    /// A JSON body that the server reads: a VM with all its chunks fits.
    package static let requestBytesMax = 24 << 20
    /// A JSON body or one event that the client reads: a server with hundreds of VMs fits.
    package static let answerBytesMax = 64 << 20
    /// Between two comments on an event stream that has nothing to say.
    package static let heartbeat: Duration = .seconds(15)
}
