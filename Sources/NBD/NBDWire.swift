/// The numbers of the NBD protocol, by the names of its specification (doc/proto.md of NetworkBlockDevice/nbd).
/// All of them travel in network byte order.
enum NBDMagic {
    /// "NBDMAGIC", the first word of a server.
    static let server: UInt64 = 0x4e42_444d_4147_4943
    /// "IHAVEOPT", before the server's handshake flags and before each option of a client.
    static let option: UInt64 = 0x4948_4156_454f_5054
    static let optionReply: UInt64 = 0x0003_e889_0455_65a9
    static let request: UInt32 = 0x2560_9513
    static let simpleReply: UInt32 = 0x6744_6698
    static let structuredReply: UInt32 = 0x668e_33ef
}

/// The flags with which both sides begin; the client answers with the same bits.
struct NBDHandshakeFlags: OptionSet {
    let rawValue: UInt32
    static let fixedNewstyle = NBDHandshakeFlags(rawValue: 1 << 0)
    static let noZeroes = NBDHandshakeFlags(rawValue: 1 << 1)
    /// What this server offers; a client that answers with more is refused.
    static let offered: NBDHandshakeFlags = [.fixedNewstyle, .noZeroes]
}

/// What a client may ask for during the handshake.
enum NBDOption: UInt32 {
    case exportName = 1
    case abort = 2
    case list = 3
    case startTLS = 5
    case info = 6
    case go = 7
    case structuredReply = 8
    case listMetaContext = 9
    case setMetaContext = 10
}

/// What a server answers to an option. Errors have the highest bit set.
enum NBDOptionReply: UInt32 {
    case acknowledged = 1
    case server = 2
    case info = 3
    case metaContext = 4
    case unsupported = 0x8000_0001
    case invalid = 0x8000_0003
    case unknownExport = 0x8000_0006
}

/// The kinds of information in a reply to INFO and GO.
enum NBDInfo: UInt16 {
    case export = 0
    case name = 1
    case blockSize = 3
}

/// What an export can do, told to the client once.
struct NBDTransmissionFlags: OptionSet {
    let rawValue: UInt16
    static let hasFlags = NBDTransmissionFlags(rawValue: 1 << 0)
    static let flush = NBDTransmissionFlags(rawValue: 1 << 2)
    static let forceUnitAccess = NBDTransmissionFlags(rawValue: 1 << 3)
    static let trim = NBDTransmissionFlags(rawValue: 1 << 5)
    static let writeZeroes = NBDTransmissionFlags(rawValue: 1 << 6)
    static let doNotFragment = NBDTransmissionFlags(rawValue: 1 << 7)
    /// Several connections see one disk: what one has flushed, all have flushed.
    static let multipleConnections = NBDTransmissionFlags(rawValue: 1 << 8)
    static let fastZero = NBDTransmissionFlags(rawValue: 1 << 11)
}

/// The requests of the transmission phase.
enum NBDCommand: UInt16 {
    case read = 0
    case write = 1
    case disconnect = 2
    case flush = 3
    case trim = 4
    case writeZeroes = 6
    case blockStatus = 7
}

struct NBDCommandFlags: OptionSet {
    let rawValue: UInt16
    static let forceUnitAccess = NBDCommandFlags(rawValue: 1 << 0)
    static let noHole = NBDCommandFlags(rawValue: 1 << 1)
    static let doNotFragment = NBDCommandFlags(rawValue: 1 << 2)
    static let requestOne = NBDCommandFlags(rawValue: 1 << 3)
    static let fastZero = NBDCommandFlags(rawValue: 1 << 4)
}

/// The kinds of chunk of a structured reply.
enum NBDChunk: UInt16 {
    case none = 0
    case offsetData = 1
    case blockStatus = 5
    case error = 0x8001
    /// Flag of the last chunk of a reply.
    static let done: UInt16 = 1
}

/// The one metadata context that this server knows: which ranges are allocated, and which read as zeros.
enum NBDAllocationContext {
    static let name = "base:allocation"
    /// Any number would do: the client learns it in the handshake.
    static let id: UInt32 = 1
    static let hole: UInt32 = 1 << 0
    static let zero: UInt32 = 1 << 1
}
