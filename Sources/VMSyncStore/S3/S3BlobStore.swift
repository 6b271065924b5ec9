import Foundation
import NIOCore
import NIOFoundationCompat
import VMSyncCore

/// Blobs as objects of a bucket in any S3-compatible store.
///
/// The wire is kept plain, because stores differ in everything else: whole bodies with their length and their SHA-256
/// signed, which the store compares; no parts, no trailers, no conditions.
package final class S3BlobStore: BlobStore {
    private let client: S3Client
    /// Objects removed at once.
    private static let removalsMax = 8

    /// Looks whether the bucket can be reached.
    /// - Throws: `notFound` without the bucket, `unauthorized`, `unavailable`.
    package init(_ location: S3Location, credentials: S3Credentials) async throws {
        client = try S3Client(location, credentials)
        do {
            _ = try await portion(after: nil, limit: 1)
        } catch {
            try? await client.close()
            throw VMSyncError(error, during: "opening the blobs")
        }
    }

    package func close() async throws { try await client.close() }

    package func put(_ id: BlobID, _ bytes: ByteBuffer, hash: ContentHash) async throws {
        _ = try await client.send(
            .PUT, key: key(of: id), headers: [("content-type", "application/octet-stream")], body: bytes, hash: hash)
    }

    package func size(of id: BlobID) async throws -> UInt64? {
        let response = try await client.send(.HEAD, key: key(of: id), accepted: [404])
        guard response.status != 404 else { return nil }
        guard let length = response.length else { throw VMSyncError(.corrupt, "the S3 store gave no size of \(id)") }
        return length
    }

    package func read(_ id: BlobID, at offset: UInt64, count: Int) async throws -> ByteBuffer {
        guard offset <= UInt64(Int64.max), count >= 0 else {
            throw VMSyncError(.invalidInput, "no blob has a byte \(offset)")
        }
        // No form of a range means no bytes; and the blob should be there.
        guard count > 0 else {
            guard try await size(of: id) != nil else { throw VMSyncError(.notFound, "there is no blob \(id)") }
            return ByteBuffer()
        }
        let range = "bytes=\(offset)-\(offset + UInt64(count) - 1)"
        let response = try await client.send(.GET, key: key(of: id), headers: [("range", range)], accepted: [416])
        if response.status == 416 { return ByteBuffer() }
        // A store may send the whole instead of a part. (RFC 9110, 14.2)
        guard response.status == 200 else { return response.body }
        var whole = response.body
        guard offset < UInt64(whole.readableBytes) else { return ByteBuffer() }
        whole.moveReaderIndex(forwardBy: Int(offset))
        return whole.readSlice(length: min(count, whole.readableBytes)) ?? ByteBuffer()
    }

    package func remove(_ ids: [BlobID]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, id) in ids.enumerated() {
                if index >= Self.removalsMax { try await group.next() }
                group.addTask { _ = try await self.client.send(.DELETE, key: self.key(of: id), accepted: [404]) }
            }
            try await group.waitForAll()
        }
    }

    package func list() -> AsyncThrowingStream<[BlobID], any Error> { list(pageMax: 1000) }

    /// - Parameter pageMax: blobs in a portion; stores give up to 1,000.
    package func list(pageMax: Int) -> AsyncThrowingStream<[BlobID], any Error> {
        let (stream, continuation) = AsyncThrowingStream.makeStream(of: [BlobID].self)
        let task = Task {
            do {
                var next: String?
                repeat {
                    let (blobs, token) = try await portion(after: next, limit: pageMax)
                    continuation.yield(blobs)
                    next = token
                } while next != nil
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        continuation.onTermination = { _ in task.cancel() }
        return stream
    }

    /// One page of a listing, and what to ask the next one with.
    private func portion(after token: String?, limit: Int) async throws -> (blobs: [BlobID], next: String?) {
        var query = [("list-type", "2"), ("max-keys", "\(limit)"), ("prefix", client.location.prefix + "blobs/")]
        if let token { query.append(("continuation-token", token)) }
        let response = try await client.send(.GET, key: "", query: query)
        let answer = try S3Answer(Data(buffer: response.body))
        let blobs = answer.all("Key").compactMap { BlobID(path: $0.dropFirst(client.location.prefix.count)) }
        return (blobs, answer.first("IsTruncated") == "true" ? answer.first("NextContinuationToken") : nil)
    }

    private func key(of id: BlobID) -> String { client.location.prefix + id.path }
}
