import NIOCore
import VMSyncCore

/// One message of a `text/event-stream`.
package struct ServerSentEvent: Hashable, Sendable {
    package let name: String
    package let data: ByteBuffer

    package init(name: String, data: ByteBuffer) {
        self.name = name
        self.data = data
    }

    /// A comment that keeps the connection alive.
    package static let heartbeat = ByteBuffer(string: ":\n\n")

    /// The message on the wire. JSON has no raw line feed, so the data is always one line.
    package func encoded(id: UInt64) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(data.readableBytes + name.utf8.count + 48)
        buffer.writeString("event: \(name)\nid: \(id)\ndata: ")
        buffer.writeImmutableBuffer(data)
        buffer.writeString("\n\n")
        return buffer
    }
}

/// Takes a byte stream apart into events, however it was cut into pieces. Pure.
package struct ServerSentEventParser: Sendable {
    private var bytes = ByteBuffer()
    /// Bytes of `bytes` in which no line feed was found.
    private var scanned = 0
    private var name = ""
    private var data = ByteBuffer()
    private let bytesMax: Int

    /// - Parameter bytesMax: bytes that one event may have before it is given up.
    package init(bytesMax: Int = APILimits.answerBytesMax) { self.bytesMax = bytesMax }

    package mutating func feed(_ buffer: ByteBuffer) {
        bytes.discardReadBytes()
        bytes.writeImmutableBuffer(buffer)
    }

    /// The next whole event in what was fed; nil if more must come.
    /// - Throws: `corrupt` if an event is too long or not UTF-8.
    package mutating func next() throws(VMSyncError) -> ServerSentEvent? {
        while let line = try nextLine() {
            if line.readableBytes > 0 {
                try take(line)
            } else if data.readableBytes > 0 {
                defer {
                    name = ""
                    data = ByteBuffer()
                }
                return ServerSentEvent(name: name, data: data)
            }
        }
        return nil
    }

    private mutating func nextLine() throws(VMSyncError) -> ByteBuffer? {
        let view = bytes.readableBytesView
        guard let feed = view.dropFirst(scanned).firstIndex(of: UInt8(ascii: "\n")) else {
            scanned = view.count
            guard scanned + data.readableBytes <= bytesMax else { throw Self.tooLong }
            return nil
        }
        scanned = 0
        var line = bytes.readSlice(length: feed - view.startIndex) ?? ByteBuffer()
        bytes.moveReaderIndex(forwardBy: 1)
        if line.readableBytesView.last == UInt8(ascii: "\r") { line.moveWriterIndex(to: line.writerIndex - 1) }
        return line
    }

    private mutating func take(_ line: ByteBuffer) throws(VMSyncError) {
        let view = line.readableBytesView
        let colon = view.firstIndex(of: UInt8(ascii: ":")) ?? view.endIndex
        let field = String(decoding: view[..<colon], as: UTF8.self)
        var value = view[colon...].dropFirst()
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        switch field {
        case "event": name = String(decoding: value, as: UTF8.self)
        case "data":
            guard data.readableBytes + value.count <= bytesMax else { throw Self.tooLong }
            if data.readableBytes > 0 { data.writeInteger(UInt8(ascii: "\n")) }
            data.writeBytes(value)
        default: break
        }
    }

    private static let tooLong = VMSyncError(.corrupt, "the server sent an event without end")
}
