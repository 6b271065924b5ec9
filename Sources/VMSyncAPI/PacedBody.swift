import AsyncHTTPClient
import NIOCore

/// A body that is handed out as fast as the link takes it. One that is handed over at once counts as sent, and then a slow
/// link looks like a server that doesn't answer.
struct PacedBody: AsyncSequence, Sendable {
    /// Little beside what a link carries until a server is given up.
    private static let portion = 64 << 10
    /// What may be handed out at once: no more than the connection and the kernel take in any case. It counts as gone, and
    /// at 0.375 Mbit/s half a megabyte more made forecasts of a switch wrong by 6 s.
    private static let unpaced = 128 << 10

    let bytes: ByteBuffer

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(rest: bytes) }

    struct AsyncIterator: AsyncIteratorProtocol {
        private var rest: ByteBuffer
        private let start: Int

        init(rest: ByteBuffer) {
            self.rest = rest
            start = rest.readerIndex
        }

        mutating func next() async -> ByteBuffer? {
            guard rest.readableBytes > 0 else { return nil }
            if rest.readerIndex - start >= PacedBody.unpaced { await Self.meetConnection() }
            return rest.readSlice(length: Swift.min(rest.readableBytes, PacedBody.portion))
        }

        /// Returns when what was handed out before is with the connection. The client asks for the next portion while the last
        /// is still on its way to the connection's loop, and only there is it known whether the connection takes more: without
        /// this, four megabytes are taken at once.
        private static func meetConnection() async {
            for loop in HTTPClient.defaultEventLoopGroup.makeIterator() { try? await loop.submit {}.get() }
        }
    }
}

extension HTTPClientRequest.Body {
    static func paced(_ bytes: ByteBuffer) -> HTTPClientRequest.Body {
        .stream(PacedBody(bytes: bytes), length: .known(Int64(bytes.readableBytes)))
    }
}
