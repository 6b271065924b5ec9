import NIOCore

/// The data of INFO and GO: the export's name, then the kinds of information that the client would like.
struct NBDInfoQuery {
    let export: String
    let wantsName: Bool

    /// Nil unless the bytes are exactly what the specification says.
    init?(_ data: ByteBuffer) {
        var data = data
        guard let name = data.readNBDString(), let count = data.readInteger(as: UInt16.self),
            data.readableBytes == Int(count) * 2
        else { return nil }
        var wantsName = false
        while let kind = data.readInteger(as: UInt16.self) {
            if kind == NBDInfo.name.rawValue { wantsName = true }
        }
        self.export = name
        self.wantsName = wantsName
    }
}

/// The data of LIST_META_CONTEXT and SET_META_CONTEXT: the export's name, then queries of the form `namespace:leaf`.
struct NBDMetaContextQuery {
    let export: String
    private let queries: [String]

    /// Nil unless the bytes are exactly what the specification says.
    init?(_ data: ByteBuffer) {
        var data = data
        guard let name = data.readNBDString(), let count = data.readInteger(as: UInt32.self) else { return nil }
        var queries: [String] = []
        // Each query takes 4 bytes or more, so the length of the option bounds the loop whatever `count` says.
        for _ in 0..<count {
            guard let query = data.readNBDString() else { return nil }
            queries.append(query)
        }
        guard data.readableBytes == 0 else { return nil }
        self.export = name
        self.queries = queries
    }

    /// LIST: no query at all asks for everything, `base:` for everything in that namespace.
    var listsAllocation: Bool {
        queries.isEmpty || queries.contains { $0 == "base:" || $0 == NBDAllocationContext.name }
    }

    /// SET: only the full name chooses a context.
    var setsAllocation: Bool { queries.contains(NBDAllocationContext.name) }
}

extension ByteBuffer {
    /// A string with its length in 32 bits before it; nil if it isn't here in full.
    mutating func readNBDString() -> String? {
        guard let length = readInteger(as: UInt32.self) else { return nil }
        return readString(length: Int(length))
    }

    /// One reply to an option.
    mutating func writeOptionReply(_ option: UInt32, _ reply: NBDOptionReply, _ data: ByteBuffer = ByteBuffer()) {
        writeInteger(NBDMagic.optionReply)
        writeInteger(option)
        writeInteger(reply.rawValue)
        writeInteger(UInt32(data.readableBytes))
        writeImmutableBuffer(data)
    }

    static func exportInfo(_ export: NBDExport, structured: Bool) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(NBDInfo.export.rawValue)
        buffer.writeInteger(export.device.size)
        buffer.writeInteger(export.flags(structured: structured).rawValue)
        return buffer
    }

    static func blockSizeInfo(_ size: NBDBlockSize, _ limits: NBDLimits) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(NBDInfo.blockSize.rawValue)
        buffer.writeInteger(size.minimum)
        buffer.writeInteger(size.preferred)
        buffer.writeInteger(min(size.maximum, UInt32(limits.payloadBytesMax)))
        return buffer
    }

    static func nameInfo(_ export: NBDExport) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(NBDInfo.name.rawValue)
        buffer.writeString(export.name)
        return buffer
    }

    static func allocationContext(id: UInt32) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeInteger(id)
        buffer.writeString(NBDAllocationContext.name)
        return buffer
    }
}
