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
        let length = Int(request.length)
        var buffer: ByteBuffer
        if structured {
            buffer = chunk(.offsetData, of: request, bytes: 8 + length)
            buffer.writeInteger(request.offset)
        } else {
            buffer = simple(request, error: 0, room: length)
        }
        try buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: length) { space in
            try fill(UnsafeMutableRawBufferPointer(rebasing: space[..<length]))
            return length
        }
        return buffer
    }

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

    private func simple(_ request: NBDRequest, error: UInt32, room: Int = 0) -> ByteBuffer {
        var buffer = allocator.buffer(capacity: 16 + room)
        buffer.writeMultipleIntegers(NBDMagic.simpleReply, error, request.cookie)
        return buffer
    }

    /// The head of a reply's only chunk, in a buffer with room for the `bytes` that follow.
    private func chunk(_ kind: NBDChunk, of request: NBDRequest, bytes: Int) -> ByteBuffer {
        var buffer = allocator.buffer(capacity: 20 + bytes)
        buffer.writeMultipleIntegers(
            NBDMagic.structuredReply, NBDChunk.done, kind.rawValue, request.cookie, UInt32(bytes))
        return buffer
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
