import Hummingbird
import VMSyncAPI
import VMSyncCore

extension Request {
    /// The JSON in the body, of at most `bytesMax` bytes.
    package func message<Message: Decodable>(
        _ type: Message.Type = Message.self, bytesMax: Int = APILimits.requestBytesMax
    ) async throws -> Message {
        try WireJSON.decode(type, from: try await body.collect(upTo: bytesMax), failing: .invalidInput)
    }

    /// The bytes that the body will have.
    /// - Throws: 411 without a good `Content-Length`, 413 if they are more than `max`.
    package func contentLength(max: UInt64) throws -> UInt64 {
        guard let length = headers[.contentLength].flatMap({ UInt64($0) }) else {
            throw StatusError(status: 411, error: VMSyncError(.invalidInput, "Content-Length is missing"))
        }
        guard length <= max else {
            throw StatusError(
                status: 413, error: VMSyncError(.invalidInput, "the body has \(length) bytes, at most are \(max)"))
        }
        return length
    }
}

/// `value` as the body of a good answer.
package func json(_ value: some Encodable) throws -> Response {
    Response(
        status: .ok, headers: [.contentType: "application/json"],
        body: ResponseBody(byteBuffer: try WireJSON.encode(value)))
}

/// A good answer that has nothing to say.
package let noContent = Response(status: .noContent)
