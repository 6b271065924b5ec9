import AsyncHTTPClient
import Crypto
import NIOCore
import NIOHTTP1
import VMSyncCore

/// A pack as it arrives from the server, resumed when it breaks off, and checked at its end.
package struct PackBytes: AsyncSequence, Sendable {
    package typealias Element = ByteBuffer
    let client: SyncClient
    let path: String
    let size: UInt64
    let checksum: ContentHash

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(pack: self) }

    package struct AsyncIterator: AsyncIteratorProtocol {
        let pack: PackBytes
        private var hasher = SHA256()
        /// Bytes that have come.
        private var count: UInt64 = 0
        private var body: HTTPClientResponse.Body.AsyncIterator?
        private var breaks = 0
        private var ended = false

        /// How often a transfer is resumed without a single byte coming between.
        private static let breaksMax = 4

        init(pack: PackBytes) { self.pack = pack }

        /// - Throws: `unavailable` if it could not be resumed; `corrupt` if size or checksum are wrong.
        package mutating func next() async throws -> ByteBuffer? {
            while !ended {
                do {
                    if let part = try await part() { return part }
                } catch {
                    try await rest(after: pack.client.translated(error))
                }
            }
            return nil
        }

        private mutating func part() async throws -> ByteBuffer? {
            var body = try await open()
            let part = try await body.next()
            self.body = body
            guard let part else {
                try finish()
                return nil
            }
            count += UInt64(part.readableBytes)
            guard count <= pack.size else { throw VMSyncError(.corrupt, "a pack longer than \(pack.size) bytes") }
            part.withUnsafeReadableBytes { hasher.update(bufferPointer: $0) }
            breaks = 0
            return part
        }

        /// The present transfer, or a new one from where the last broke off.
        private func open() async throws -> HTTPClientResponse.Body.AsyncIterator {
            if let body { return body }
            let range = count == 0 ? [] : [("Range", "bytes=\(count)-")]
            let response = try await pack.client.send(
                .GET, pack.path, headers: range, timeout: SyncClient.transferTimeout)
            guard count == 0 || response.status == .partialContent else {
                throw VMSyncError(.corrupt, "the server does not resume the pack")
            }
            return response.body.makeAsyncIterator()
        }

        private mutating func finish() throws {
            ended = true
            guard count == pack.size, ContentHash(digest: hasher.finalize()) == pack.checksum else {
                throw VMSyncError(.corrupt, "the pack \(pack.path) is not the one that was committed")
            }
        }

        /// Waits before the transfer is resumed, or gives it up.
        private mutating func rest(after error: VMSyncError) async throws {
            body = nil
            breaks += 1
            guard error.code == .unavailable, breaks <= Self.breaksMax, !ended else {
                ended = true
                throw error
            }
            try await Backoff().sleep(attempt: breaks)
        }
    }
}
