import NIOCore

/// What goes over the wire to the server (RFC 6143, sections 7.1 to 7.5).
enum RFBRequest {
    static let version = "RFB 003.008\n"
    /// The security type "None".
    static let noSecurity: UInt8 = 1
    /// Encodings that we take: pixels as they are, and news of another size of the screen.
    static let raw: Int32 = 0
    static let desktopSize: Int32 = -223

    /// 32 bits a pixel, little-endian: blue, green, red, unused.
    static func begin() -> ByteBuffer {
        var bytes = ByteBuffer()
        bytes.writeBytes([0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0])
        bytes.writeBytes([2, 0, 0, 2])
        bytes.writeInteger(raw)
        bytes.writeInteger(desktopSize)
        return bytes
    }

    static func update(width: Int, height: Int, incremental: Bool) -> ByteBuffer {
        var bytes = ByteBuffer(bytes: [3, incremental ? 1 : 0, 0, 0, 0, 0])
        bytes.writeInteger(UInt16(width))
        bytes.writeInteger(UInt16(height))
        return bytes
    }

    static func key(_ keysym: UInt32, down: Bool) -> ByteBuffer {
        var bytes = ByteBuffer(bytes: [4, down ? 1 : 0, 0, 0])
        bytes.writeInteger(keysym)
        return bytes
    }

    static func pointer(x: UInt16, y: UInt16, buttons: UInt8) -> ByteBuffer {
        var bytes = ByteBuffer(bytes: [5, buttons])
        bytes.writeInteger(x)
        bytes.writeInteger(y)
        return bytes
    }
}

/// Reads what the server sends, message by message. Knows no connection: bytes in, events out.
struct RFBReader {
    enum Event: Equatable {
        case version
        case securityTypes([UInt8])
        /// The handshake is over; the screen has this size.
        case ready(width: Int, height: Int)
        /// A part of the screen, four bytes a pixel.
        case pixels(x: Int, y: Int, width: Int, height: Int, ByteBuffer)
        case resized(width: Int, height: Int)
        case updateEnded
    }

    private enum Stage {
        case version, security, securityResult, reason, serverInit, messages
        case rectangles(left: Int)
    }

    private var buffer = ByteBuffer()
    private var stage = Stage.version
    private var size = (width: 0, height: 0)

    mutating func append(_ bytes: ByteBuffer) {
        buffer.discardReadBytes()
        buffer.writeImmutableBuffer(bytes)
    }

    /// The next event; nil if it hasn't arrived whole.
    mutating func next() throws(RFBError) -> Event? {
        while true {
            switch try step() {
            case .event(let event): return event
            case .needsMore: return nil
            case .goOn: continue
            }
        }
    }

    private enum Outcome {
        case event(Event), needsMore, goOn
    }

    private mutating func step() throws(RFBError) -> Outcome {
        switch stage {
        case .version: try readVersion()
        case .security: try readSecurity()
        case .securityResult: try readSecurityResult()
        case .reason: try readReason()
        case .serverInit: try readServerInit()
        case .messages: try readMessage()
        case .rectangles(let left): try readRectangle(left)
        }
    }

    // MARK: Handshake

    private mutating func readVersion() throws(RFBError) -> Outcome {
        guard let text = buffer.readString(length: RFBRequest.version.utf8.count) else { return .needsMore }
        // A newer server speaks 3.8 with who asks for it; an older one has another handshake.
        guard text.hasPrefix("RFB 003."), text >= RFBRequest.version else { throw .malformed("version \(text)") }
        stage = .security
        return .event(.version)
    }

    private mutating func readSecurity() throws(RFBError) -> Outcome {
        guard let count = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) else { return .needsMore }
        if count == 0 {
            buffer.moveReaderIndex(forwardBy: 1)
            stage = .reason
            return .goOn
        }
        guard buffer.readableBytes > Int(count), let bytes = buffer.readBytes(length: 1 + Int(count)) else {
            return .needsMore
        }
        stage = .securityResult
        return .event(.securityTypes(Array(bytes.dropFirst())))
    }

    private mutating func readSecurityResult() throws(RFBError) -> Outcome {
        guard let result = buffer.readInteger(as: UInt32.self) else { return .needsMore }
        stage = result == 0 ? .serverInit : .reason
        return .goOn
    }

    private mutating func readReason() throws(RFBError) -> Outcome {
        guard let text = try readText(at: 0) else { return .needsMore }
        throw .refused(text)
    }

    private mutating func readServerInit() throws(RFBError) -> Outcome {
        // Width, height, the server's own pixel format (which we replace), the length of a name.
        guard buffer.readableBytes >= 24, let width = buffer.getInteger(at: buffer.readerIndex, as: UInt16.self),
            let height = buffer.getInteger(at: buffer.readerIndex + 2, as: UInt16.self)
        else { return .needsMore }
        guard try readText(at: 20) != nil else { return .needsMore }
        try resize(Int(width), Int(height))
        stage = .messages
        return .event(.ready(width: size.width, height: size.height))
    }

    // MARK: Messages

    private mutating func readMessage() throws(RFBError) -> Outcome {
        guard let kind = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self) else { return .needsMore }
        switch kind {
        case 0:
            guard buffer.readableBytes >= 4, let head = buffer.readInteger(as: UInt32.self) else { return .needsMore }
            stage = .rectangles(left: Int(head & 0xFFFF))
            return .goOn
        case 2:  // the bell
            buffer.moveReaderIndex(forwardBy: 1)
            return .goOn
        case 3:  // a text on the clipboard
            return try readText(at: 4) == nil ? .needsMore : .goOn
        default: throw .malformed("message \(kind)")  // colour maps too: we asked for true colours
        }
    }

    private mutating func readRectangle(_ left: Int) throws(RFBError) -> Outcome {
        guard left > 0 else {
            stage = .messages
            return .event(.updateEnded)
        }
        let start = buffer.readerIndex
        guard buffer.readableBytes >= 12,
            let place = buffer.getMultipleIntegers(at: start, as: (UInt16, UInt16, UInt16, UInt16, Int32).self)
        else { return .needsMore }
        let (x, y, width, height) = (Int(place.0), Int(place.1), Int(place.2), Int(place.3))
        switch place.4 {
        case RFBRequest.desktopSize:
            buffer.moveReaderIndex(forwardBy: 12)
            try resize(width, height)
            stage = .rectangles(left: left - 1)
            return .event(.resized(width: width, height: height))
        case RFBRequest.raw:
            guard x + width <= size.width, y + height <= size.height else {
                throw .malformed("pixels outside the screen")
            }
            guard buffer.readableBytes >= 12 + width * height * 4 else { return .needsMore }
            buffer.moveReaderIndex(forwardBy: 12)
            guard let pixels = buffer.readSlice(length: width * height * 4) else { return .needsMore }
            stage = .rectangles(left: left - 1)
            return .event(.pixels(x: x, y: y, width: width, height: height, pixels))
        default: throw .malformed("encoding \(place.4), which nobody asked for")
        }
    }

    private mutating func resize(_ width: Int, _ height: Int) throws(RFBError) {
        guard (1...RFBLimits.sideMax).contains(width), (1...RFBLimits.sideMax).contains(height),
            width * height <= RFBLimits.pixelsMax
        else { throw .malformed("a screen of \(width) × \(height)") }
        size = (width, height)
    }

    /// Skips `offset` bytes and reads the text with a length that stands there; nil, with nothing read, if a part lacks.
    private mutating func readText(at offset: Int) throws(RFBError) -> String? {
        guard let length = buffer.getInteger(at: buffer.readerIndex + offset, as: UInt32.self) else { return nil }
        guard length <= RFBLimits.textMax else { throw .malformed("a text of \(length) bytes") }
        guard buffer.readableBytes >= offset + 4 + Int(length) else { return nil }
        buffer.moveReaderIndex(forwardBy: offset + 4)
        return buffer.readString(length: Int(length))
    }
}
