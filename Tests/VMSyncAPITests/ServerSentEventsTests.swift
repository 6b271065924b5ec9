import NIOCore
import Testing
import VMSyncAPI
import VMSyncCore

@Suite struct ServerSentEventsTests {
    static let events = [
        ServerSentEvent(name: "vm", data: ByteBuffer(string: "{\"a\":1}")),
        ServerSentEvent(name: "ready", data: ByteBuffer(string: "{}")),
    ]

    /// All events of `bytes`, fed in pieces of `size`.
    static func parse(_ bytes: ByteBuffer, inPiecesOf size: Int) throws -> [ServerSentEvent] {
        var parser = ServerSentEventParser(bytesMax: 1000)
        var rest = bytes
        var events: [ServerSentEvent] = []
        while rest.readableBytes > 0 {
            if let piece = rest.readSlice(length: min(size, rest.readableBytes)) { parser.feed(piece) }
            while let event = try parser.next() { events.append(event) }
        }
        return events
    }

    @Test(arguments: 1...60)
    func whatWasEncodedIsParsedHoweverItIsCut(size: Int) throws {
        var wire = ServerSentEvent.heartbeat
        for event in Self.events {
            wire.writeImmutableBuffer(event.encoded(id: 7))
            wire.writeImmutableBuffer(ServerSentEvent.heartbeat)
        }
        #expect(try Self.parse(wire, inPiecesOf: size) == Self.events)
    }

    @Test func otherServersWritingIsUnderstood() throws {
        let wire = ByteBuffer(string: "retry: 5\r\nevent:vm\r\ndata: a\r\ndata: b\r\nunknown\r\n\r\n: comment\n\n\n")
        #expect(
            try Self.parse(wire, inPiecesOf: 9) == [ServerSentEvent(name: "vm", data: ByteBuffer(string: "a\nb"))])
    }

    @Test func anEventWithoutEndIsGivenUp() throws {
        for wire in ["data: \(String(repeating: "x", count: 2000))", String(repeating: "data: xxxxxxxx\n", count: 200)]
        {
            #expect(throws: VMSyncError.self) { try Self.parse(ByteBuffer(string: wire), inPiecesOf: 100) }
        }
    }
}
