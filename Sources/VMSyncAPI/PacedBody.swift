import AsyncHTTPClient
import NIOCore

/// A body that is handed out as fast as the link takes it. One that is handed over whole counts as sent at once, and then a
/// slow link looks like a server that doesn't answer.
struct PacedBody: AsyncSequence, Sendable {
    /// Little beside what a link carries until a server is given up.
    private static let portion = 64 << 10

    let bytes: ByteBuffer

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: bytes) }

    struct AsyncIterator: AsyncIteratorProtocol {
        var rest: ByteBuffer

        mutating func next() async -> ByteBuffer? {
            rest.readableBytes == 0 ? nil : rest.readSlice(length: Swift.min(rest.readableBytes, PacedBody.portion))
        }
    }
}

extension HTTPClientRequest.Body {
    static func paced(_ bytes: ByteBuffer) -> HTTPClientRequest.Body {
        .stream(PacedBody(bytes: bytes), length: .known(Int64(bytes.readableBytes)))
    }
}
