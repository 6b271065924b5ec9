import Logging
import NIOCore

/// Does what requests ask of the device. Blocks where it doesn't say otherwise, so it runs on threads of the pool.
struct NBDExecutor: Sendable {
    let session: NBDSession
    let limits: NBDLimits
    let logger: Logger
    let format: NBDReplyFormat

    init(session: NBDSession, limits: NBDLimits, logger: Logger) {
        self.session = session
        self.limits = limits
        self.logger = logger
        self.format = NBDReplyFormat(structured: session.structured)
    }

    /// Answers a READ whose content the device has at hand, or a FLUSH of a device with nothing to flush: appends the
    /// reply, or else leaves `replies` as it was and gives false. Never blocks.
    func replyPromptly(to request: NBDRequest, in replies: inout ByteBuffer) -> Bool {
        let device = session.export.device
        switch request.kind {
        case .read:
            return format.appendData(request, to: &replies) { device.readPromptly(at: request.offset, into: $0) }
        case .flush where device.isFlushed:
            replies.writeImmutableBuffer(format.success(request))
            return true
        default:
            return false
        }
    }

    /// Runs `requests` one after the other and gives all replies.
    /// - Throws: an error that no client is to be told of.
    func replies(to requests: [NBDRequest]) throws -> ByteBuffer {
        guard var replies = try requests.first.map(reply) else { return ByteBuffer() }
        for request in requests.dropFirst() { replies.writeImmutableBuffer(try reply(to: request)) }
        return replies
    }

    /// Runs `request`, which was checked when it came in, and gives the reply. A failure becomes a reply too.
    private func reply(to request: NBDRequest) throws -> ByteBuffer {
        do {
            return try perform(request)
        } catch {
            let reportable = error as? any NBDReportable
            guard let told = reportable == nil ? .io : reportable?.nbdError else { throw error }
            logger.warning(
                "an NBD request failed",
                metadata: [
                    "export": "\(session.export.name)", "command": "\(request.command)", "offset": "\(request.offset)",
                    "length": "\(request.length)", "told": "\(told)", "error": "\(error)",
                ])
            return format.failure(request, told)
        }
    }

    private func perform(_ request: NBDRequest) throws -> ByteBuffer {
        let device = session.export.device
        let length = UInt64(request.length)
        switch request.kind {
        case .read:
            return try format.data(request) { try device.read(at: request.offset, into: $0) }
        case .write:
            let fua = request.flags.contains(.forceUnitAccess)
            try request.payload.withUnsafeReadableBytes { try device.write($0, at: request.offset, fua: fua) }
        case .flush:
            try device.flush()
        case .trim:
            try device.trim(at: request.offset, length: length)
            if request.flags.contains(.forceUnitAccess) { try device.flush() }
        case .writeZeroes:
            try device.writeZeroes(
                at: request.offset, length: length, mayTrim: !request.flags.contains(.noHole),
                fua: request.flags.contains(.forceUnitAccess))
        case .blockStatus:
            return try status(request)
        case .disconnect, nil:
            throw NBDError.invalid
        }
        return format.success(request)
    }

    private func status(_ request: NBDRequest) throws -> ByteBuffer {
        let extents = try session.export.device.status(at: request.offset, length: UInt64(request.length))
        let total = extents.reduce(UInt64(0)) { $0 + $1.length }
        // The device broke its promise; a reply made of this would confuse the client.
        guard total > 0, total <= UInt64(request.length) else { throw NBDError.io }
        return format.extents(request, extents.prefix(request.flags.contains(.requestOne) ? 1 : limits.extentsMax))
    }
}
