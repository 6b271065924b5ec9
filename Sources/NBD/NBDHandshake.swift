import NIOCore

/// The server's side of the fixed newstyle handshake (specification: "Newstyle negotiation").
///
/// A pure state machine: it takes the client's bytes, appends what is to be answered, and says when it is over.
struct NBDHandshake {
    enum Step {
        /// The next message isn't here in full. It needs this many bytes at least.
        case needsMore(Int)
        /// A message was answered; there may be another one.
        case answered
        /// The handshake is over: the transmission phase begins.
        case began(NBDSession)
        /// The client ends the connection, or asked in a way that leaves no other answer.
        case ended
    }

    private let exports: NBDExports
    private let limits: NBDLimits
    private var clientFlags: NBDHandshakeFlags?
    private var structured = false
    /// The export that the client chose `base:allocation` for. It holds for that export only.
    private var contextExport: String?

    init(exports: NBDExports, limits: NBDLimits) {
        self.exports = exports
        self.limits = limits
    }

    /// The first words of the server.
    static func greeting() -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(NBDMagic.server)
        buffer.writeInteger(NBDMagic.option)
        buffer.writeInteger(UInt16(truncatingIfNeeded: NBDHandshakeFlags.offered.rawValue))
        return buffer
    }

    /// Takes at most one message from `input`.
    /// - Throws: `NBDViolation` when the stream can't be followed any further.
    mutating func step(_ input: inout ByteBuffer, replies: inout ByteBuffer) throws(NBDViolation) -> Step {
        guard clientFlags != nil else { return try readFlags(&input) }
        // The head of an option: magic, option, length of its data.
        guard let (magic, number, length) = input.peekMultipleIntegers(as: (UInt64, UInt32, UInt32).self) else {
            return .needsMore(Self.optionHeadBytes)
        }
        guard magic == NBDMagic.option else { throw NBDViolation("an option doesn't begin with IHAVEOPT") }
        guard length <= limits.optionBytesMax else { throw NBDViolation("an option of \(length) bytes") }
        guard input.readableBytes >= Self.optionHeadBytes + Int(length) else {
            return .needsMore(Self.optionHeadBytes + Int(length))
        }
        input.moveReaderIndex(forwardBy: Self.optionHeadBytes)
        guard let data = input.readSlice(length: Int(length)) else { return .ended }
        return answer(number, data, &replies)
    }

    private static let optionHeadBytes = 16

    private mutating func readFlags(_ input: inout ByteBuffer) throws(NBDViolation) -> Step {
        guard let raw = input.readInteger(as: UInt32.self) else { return .needsMore(4) }
        let flags = NBDHandshakeFlags(rawValue: raw)
        guard flags.isSubset(of: .offered) else { throw NBDViolation("unknown handshake flags \(raw)") }
        clientFlags = flags
        return .answered
    }

    private mutating func answer(_ number: UInt32, _ data: ByteBuffer, _ replies: inout ByteBuffer) -> Step {
        switch NBDOption(rawValue: number) {
        case .exportName: return exportName(data, &replies)
        case .abort:
            replies.writeOptionReply(number, .acknowledged)
            return .ended
        case .list: list(data, &replies)
        case .info: _ = info(.info, data, &replies)
        case .go:
            if let session = info(.go, data, &replies) { return .began(session) }
        case .structuredReply: structuredReply(data, &replies)
        case .listMetaContext: listMetaContext(data, &replies)
        case .setMetaContext: setMetaContext(data, &replies)
        case .startTLS, nil: replies.writeOptionReply(number, .unsupported)
        }
        return .answered
    }
}

// MARK: - The options

extension NBDHandshake {
    /// The old way to begin. It has no reply for an unknown name, so the connection ends.
    private func exportName(_ data: ByteBuffer, _ replies: inout ByteBuffer) -> Step {
        guard let export = exports[String(buffer: data)] else { return .ended }
        replies.writeInteger(export.device.size)
        replies.writeInteger(export.flags(structured: structured).rawValue)
        if clientFlags?.contains(.noZeroes) != true { replies.writeRepeatingByte(0, count: 124) }
        return .began(session(export))
    }

    private func list(_ data: ByteBuffer, _ replies: inout ByteBuffer) {
        let option = NBDOption.list.rawValue
        guard data.readableBytes == 0 else { return replies.writeOptionReply(option, .invalid) }
        for name in exports.names {
            var entry = ByteBuffer()
            entry.writeInteger(UInt32(name.utf8.count))
            entry.writeString(name)
            replies.writeOptionReply(option, .server, entry)
        }
        replies.writeOptionReply(option, .acknowledged)
    }

    /// INFO and GO answer the same; GO begins the transmission if the session isn't nil.
    private func info(_ option: NBDOption, _ data: ByteBuffer, _ replies: inout ByteBuffer) -> NBDSession? {
        guard let query = NBDInfoQuery(data) else {
            replies.writeOptionReply(option.rawValue, .invalid)
            return nil
        }
        guard let export = exports[query.export] else {
            replies.writeOptionReply(option.rawValue, .unknownExport)
            return nil
        }
        replies.writeOptionReply(option.rawValue, .info, .exportInfo(export, structured: structured))
        replies.writeOptionReply(option.rawValue, .info, .blockSizeInfo(export.device.blockSize, limits))
        if query.wantsName { replies.writeOptionReply(option.rawValue, .info, .nameInfo(export)) }
        replies.writeOptionReply(option.rawValue, .acknowledged)
        return session(export)
    }

    private mutating func structuredReply(_ data: ByteBuffer, _ replies: inout ByteBuffer) {
        let option = NBDOption.structuredReply.rawValue
        guard data.readableBytes == 0 else { return replies.writeOptionReply(option, .invalid) }
        structured = true
        replies.writeOptionReply(option, .acknowledged)
    }

    private func listMetaContext(_ data: ByteBuffer, _ replies: inout ByteBuffer) {
        let option = NBDOption.listMetaContext.rawValue
        guard structured, let query = NBDMetaContextQuery(data) else {
            return replies.writeOptionReply(option, .invalid)
        }
        guard exports[query.export] != nil else { return replies.writeOptionReply(option, .unknownExport) }
        if query.listsAllocation { replies.writeOptionReply(option, .metaContext, .allocationContext(id: 0)) }
        replies.writeOptionReply(option, .acknowledged)
    }

    private mutating func setMetaContext(_ data: ByteBuffer, _ replies: inout ByteBuffer) {
        let option = NBDOption.setMetaContext.rawValue
        // Whatever comes of this request, the choice before it is void.
        contextExport = nil
        guard structured, let query = NBDMetaContextQuery(data) else {
            return replies.writeOptionReply(option, .invalid)
        }
        guard let export = exports[query.export] else { return replies.writeOptionReply(option, .unknownExport) }
        if query.setsAllocation {
            contextExport = export.name
            replies.writeOptionReply(option, .metaContext, .allocationContext(id: NBDAllocationContext.id))
        }
        replies.writeOptionReply(option, .acknowledged)
    }

    private func session(_ export: NBDExport) -> NBDSession {
        NBDSession(export: export, structured: structured, allocationContext: contextExport == export.name)
    }
}
