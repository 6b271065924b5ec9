import AsyncHTTPClient
import NIOCore

/// A body that is handed out as fast as the link takes it. One that is handed over at once counts as sent, and then a slow
/// link looks like a server that doesn't answer.
struct PacedBody: AsyncSequence, Sendable {
    /// Little beside what a link carries until a server is given up.
    private static let portion = 64 << 10

    let bytes: ByteBuffer

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: bytes) }

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ByteBuffer

        mutating func next() async -> ByteBuffer? {
            guard rest.readableBytes > 0 else { return nil }
            // The client asks for the next portion while the last is still on its way to the connection's loop. Only when it
            // is there is it known whether the connection takes more; without this four megabytes are taken at once.
            for loop in HTTPClient.defaultEventLoopGroup.makeIterator() { try? await loop.submit {}.get() }
            return rest.readSlice(length: Swift.min(rest.readableBytes, PacedBody.portion))
        }
    }
}

extension HTTPClientRequest.Body {
    static func paced(_ bytes: ByteBuffer) -> HTTPClientRequest.Body {
        .stream(PacedBody(bytes: bytes), length: .known(Int64(bytes.readableBytes)))
    }
}
