import NIOCore

/// How replies of one session look on the wire. Each function gives one whole reply.
struct NBDReplyFormat: Sendable {
    let structured: Bool
    private let allocator = ByteBufferAllocator()

    init(structured: Bool) { self.structured = structured }

    /// The request is done, and has nothing to return.
    func success(_ request: NBDRequest) -> ByteBuffer {
        guard structured else { return simple(request, error: 0) }
        return chunk(.none, of: request, bytes: 0)
    }

    func failure(_ request: NBDRequest, _ error: NBDError) -> ByteBuffer {
        guard structured else { return simple(request, error: error.rawValue) }
        var buffer = chunk(.error, of: request, bytes: 6)
        buffer.writeInteger(error.rawValue)
        // A message in words could follow; its length is 0.
        buffer.writeInteger(UInt16(0))
        return buffer
    }

    /// The reply to a READ: `fill` puts the bytes straight into the buffer that is sent.
    func data(_ request: NBDRequest, fill: (UnsafeMutableRawBufferPointer) throws -> Void) rethrows -> ByteBuffer {
        var buffer = allocator.buffer(capacity: Self.dataHeadBytesMax + Int(request.length))
        _ = try appendData(request, to: &buffer) { space in
            try fill(space)
            return true
        }
        return buffer
    }

    /// The same, after other replies in a buffer. If `fill` gives false there is no reply, and the buffer is as it was.
    func appendData(
        _ request: NBDRequest, to buffer: inout ByteBuffer, fill: (UnsafeMutableRawBufferPointer) throws -> Bool
    ) rethrows -> Bool {
        let (start, length) = (buffer.writerIndex, Int(request.length))
        if structured {
            writeChunkHead(.offsetData, of: request, bytes: 8 + length, to: &buffer)
            buffer.writeInteger(request.offset)
        } else {
            buffer.writeMultipleIntegers(NBDMagic.simpleReply, UInt32(0), request.cookie)
        }
        let written = try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { space in
            try fill(UnsafeMutableRawBufferPointer(rebasing: space[..<length])) ? length : 0
        }
        if written < length { buffer.moveWriterIndex(to: start) }
        return written == length
    }

    /// What stands before the bytes of a READ: the head of a chunk and an offset.
    private static let dataHeadBytesMax = 28

    /// The reply to BLOCK_STATUS.
    func extents(_ request: NBDRequest, _ extents: some Collection<NBDExtent>) -> ByteBuffer {
        var buffer = chunk(.blockStatus, of: request, bytes: 4 + 8 * extents.count)
        buffer.writeInteger(NBDAllocationContext.id)
        for extent in extents {
            // No extent reaches beyond its request, whose length has 32 bits.
            buffer.writeInteger(UInt32(extent.length))
            buffer.writeInteger(extent.kind.allocationFlags)
        }
        return buffer
    }

    private func simple(_ request: NBDRequest, error: UInt32) -> ByteBuffer {
        var buffer = allocator.buffer(capacity: 16)
        buffer.writeMultipleIntegers(NBDMagic.simpleReply, error, request.cookie)
        return buffer
    }

    /// The head of a reply's only chunk, in a buffer with room for the `bytes` that follow.
    private func chunk(_ kind: NBDChunk, of request: NBDRequest, bytes: Int) -> ByteBuffer {
        var buffer = allocator.buffer(capacity: 20 + bytes)
        writeChunkHead(kind, of: request, bytes: bytes, to: &buffer)
        return buffer
    }

    private func writeChunkHead(_ kind: NBDChunk, of request: NBDRequest, bytes: Int, to buffer: inout ByteBuffer) {
        buffer.writeMultipleIntegers(
            NBDMagic.structuredReply, NBDChunk.done, kind.rawValue, request.cookie, UInt32(bytes))
    }
}

extension NBDExtent.Kind {
    /// The kind as flags of `base:allocation`.
    var allocationFlags: UInt32 {
        switch self {
        case .data: 0
        case .zero: NBDAllocationContext.zero
        case .hole: NBDAllocationContext.zero | NBDAllocationContext.hole
        }
    }
}
