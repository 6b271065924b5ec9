import Hummingbird
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP
import VMSyncPolicy
import VMSyncStore

extension Routes {
    func addCheckpoints(_ group: RouterGroup<SyncContext>) {
        group.post { request, context in
            let (size, pack) = try await offeredPack(request)
            let offer = try CommitHeaders.offer(size: size) { header($0, of: request) }
            return try json(
                try await service.commit(offer, to: context.named("vm"), by: context.caller(), pack: pack))
        }
        group.get { request, context in
            let after = try number("after", of: request) ?? 0
            let limit = try number("limit", of: request) ?? UInt64(APILimits.checkpointPageMax)
            return try json(
                try await service.checkpoints(
                    of: context.named("vm"), for: context.caller(), after: Sequence(rawValue: after),
                    limit: Int(clamping: limit)))
        }
    }

    func header(_ name: String, of request: Request) -> String? {
        HeaderName(name).flatMap { request.headers[$0] }
    }

    /// The pack in the body of a request, or the list of chunks that it was sent in before; and its bytes.
    func offeredPack(_ request: Request) async throws -> (size: UInt64, pack: OfferedPack) {
        if let size = try CommitHeaders.sizeInChunks({ header($0, of: request) }) {
            return (size, .chunks(try await request.message(HashList.self).hashes))
        }
        let size = try request.contentLength(max: UInt64(APILimits.wholePackBytesMax))
        let body = request.body
        return (size, .whole { try await body.collect(upTo: Int(size)) })
    }

    func number(_ name: String, of request: Request) throws(VMSyncError) -> UInt64? {
        guard let text = request.uri.queryParameters[name[...]] else { return nil }
        guard let number = UInt64(text) else { throw VMSyncError(.invalidInput, "\(name) must be a whole number") }
        return number
    }

    func response(_ pack: StoredPack, range header: String?) throws -> Response {
        let size = pack.size
        var headers: HTTPFields = [.contentType: "application/octet-stream", .acceptRanges: "bytes"]
        if let name = HeaderName(CommitHeaders.checksum) { headers[name] = pack.checksum.rawValue }
        guard let header else {
            return Response(status: .ok, headers: headers, body: body(of: pack.blobs, 0..<size))
        }
        guard let range = ByteRange.parse(header, size: size) else {
            throw StatusError(
                status: 416, error: VMSyncError(.invalidInput, "\(header.prefix(80)) is not in \(size) bytes"))
        }
        headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)"
        return Response(status: .partialContent, headers: headers, body: body(of: pack.blobs, range))
    }

    /// Bytes read and sent at a time: few enough to hold for every transfer that runs.
    private static let transferBytesMax: UInt64 = 1 << 20

    /// The bytes of `range` in what the blobs hold, one behind the other.
    private func body(of stored: [StoredBlob], _ range: Range<UInt64>) -> ResponseBody {
        let blobs = service.blobs
        return ResponseBody(contentLength: Int(range.count)) { writer in
            var start: UInt64 = 0
            for blob in stored {
                defer { start += blob.size }
                let end = min(range.upperBound, start + blob.size)
                var offset = max(range.lowerBound, start)
                while offset < end {
                    let count = Int(min(end - offset, Self.transferBytesMax))
                    let part = try await blobs.read(blob.id, at: offset - start, count: count)
                    guard part.readableBytes > 0 else { throw VMSyncError(.corrupt, "blob \(blob.id) is too short") }
                    offset += UInt64(part.readableBytes)
                    try await writer.write(part)
                }
            }
            try await writer.finish(nil)
        }
    }
}

/// The one form of `Range` that resuming needs. (RFC 9110, 14.1.2, without lists and suffixes)
enum ByteRange {
    /// The bytes that `bytes=N-` or `bytes=N-M` means, nil if there are none or it is another form.
    static func parse(_ header: String, size: UInt64) -> Range<UInt64>? {
        guard header.hasPrefix("bytes=") else { return nil }
        let ends = header.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard ends.count == 2, let first = UInt64(ends[0]), first < size else { return nil }
        if ends[1].isEmpty { return first..<size }
        guard let last = UInt64(ends[1]), last >= first else { return nil }
        return first..<(min(last, size - 1) + 1)
    }
}
