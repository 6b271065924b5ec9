import NIOCore

/// One request of the transmission phase, as it stands on the wire.
struct NBDRequest: Sendable {
    let command: UInt16
    let flags: NBDCommandFlags
    /// The client's own mark, returned with the reply.
    let cookie: UInt64
    let offset: UInt64
    let length: UInt32
    /// The bytes to write; empty for other commands. Shares the storage that they were received into.
    var payload = ByteBuffer()

    var kind: NBDCommand? { NBDCommand(rawValue: command) }

    /// Bytes that the request holds in memory while it is worked on: what it brings, or what it asks for.
    var heldBytes: Int { kind == .read || kind == .write ? Int(length) : 0 }

    /// Whether it is done when its bytes are in memory, as a WRITE without FUA is: not worth a thread of its own.
    var waitsForMemoryOnly: Bool { kind == .write && !flags.contains(.forceUnitAccess) }

    /// Nil if the request may run in `session`, or else what its client is told.
    func refusal(in session: NBDSession, limits: NBDLimits) -> NBDError? {
        guard let kind, flags.isSubset(of: Self.flags(of: kind, in: session)) else { return .invalid }
        switch kind {
        case .flush, .disconnect: return nil
        case .blockStatus where !session.allocationContext: return .invalid
        case .read, .write:
            if length > limits.payloadBytesMax { return .invalid }
        case .trim, .writeZeroes, .blockStatus: break
        }
        guard length > 0 else { return .invalid }
        let end = offset.addingReportingOverflow(UInt64(length))
        guard !end.overflow, end.partialValue <= session.export.device.size else {
            return kind == .write || kind == .writeZeroes ? .noSpace : .invalid
        }
        return nil
    }

    /// The flags that the specification allows with each command.
    private static func flags(of kind: NBDCommand, in session: NBDSession) -> NBDCommandFlags {
        switch kind {
        case .read: session.structured ? [.forceUnitAccess, .doNotFragment] : [.forceUnitAccess]
        case .writeZeroes:
            session.export.device.zeroesFast ? [.forceUnitAccess, .noHole, .fastZero] : [.forceUnitAccess, .noHole]
        case .blockStatus: [.forceUnitAccess, .requestOne]
        case .write, .disconnect, .flush, .trim: [.forceUnitAccess]
        }
    }
}

/// Cuts a client's bytes into requests. A pure state machine.
///
/// A request that is refused may be followed by a payload of up to 4 GiB: it is skipped as it comes in, never kept.
struct NBDRequestReader {
    enum Step {
        /// The next request isn't here in full. It needs this many bytes at least.
        case needsMore(Int)
        case request(NBDRequest)
        case refused(NBDRequest, NBDError)
        /// The client says goodbye.
        case disconnect
    }

    private enum Expecting {
        case head
        case payload(NBDRequest)
        case skipping(NBDRequest, NBDError, left: Int)
    }

    private static let headBytes = 28
    private let session: NBDSession
    private let limits: NBDLimits
    private var expecting = Expecting.head

    init(session: NBDSession, limits: NBDLimits) {
        self.session = session
        self.limits = limits
    }

    /// Takes at most one request from `input`.
    /// - Throws: `NBDViolation` when the stream can't be followed any further.
    mutating func step(_ input: inout ByteBuffer) throws(NBDViolation) -> Step {
        switch expecting {
        case .head: try readHead(&input)
        case .payload(let request): readPayload(of: request, &input)
        case .skipping(let request, let error, let left): skip(left, of: request, error, &input)
        }
    }

    private mutating func readHead(_ input: inout ByteBuffer) throws(NBDViolation) -> Step {
        guard input.readableBytes >= Self.headBytes,
            let (magic, flags, command, cookie, offset, length) = input.readMultipleIntegers(
                as: (UInt32, UInt16, UInt16, UInt64, UInt64, UInt32).self)
        else { return .needsMore(Self.headBytes) }
        guard magic == NBDMagic.request else { throw NBDViolation("a request begins with \(magic)") }
        let request = NBDRequest(
            command: command, flags: NBDCommandFlags(rawValue: flags), cookie: cookie, offset: offset, length: length)
        if request.kind == .disconnect { return .disconnect }
        if let error = request.refusal(in: session, limits: limits) {
            guard request.kind == .write else { return .refused(request, error) }
            return skip(Int(length), of: request, error, &input)
        }
        return request.kind == .write ? readPayload(of: request, &input) : .request(request)
    }

    private mutating func readPayload(of request: NBDRequest, _ input: inout ByteBuffer) -> Step {
        guard let payload = input.readSlice(length: Int(request.length)) else {
            expecting = .payload(request)
            return .needsMore(Int(request.length))
        }
        expecting = .head
        var whole = request
        whole.payload = payload
        return .request(whole)
    }

    private mutating func skip(
        _ left: Int, of request: NBDRequest, _ error: NBDError, _ input: inout ByteBuffer
    ) -> Step {
        let here = min(left, input.readableBytes)
        input.moveReaderIndex(forwardBy: here)
        guard here < left else {
            expecting = .head
            return .refused(request, error)
        }
        expecting = .skipping(request, error, left: left - here)
        return .needsMore(1)
    }
}
