import Hummingbird
import Logging
import NIOCore
import VMSyncAPI
import VMSyncCore

/// The name of a header.
typealias HeaderName = HTTPFields.Element.Name

/// One request on its way through the routes.
struct SyncContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// Who asks; nil only where nobody needs to be known.
    var device: DeviceID?

    init(source: Source) { coreContext = .init(source: source) }

    /// Who asks.
    func caller() throws(VMSyncError) -> DeviceID {
        guard let device else { throw VMSyncError(.unauthorized, "this needs a token", hint: "vmsync join") }
        return device
    }

    /// A part of the path that names something.
    /// - Throws: `notFound`: what can't be a name names nothing.
    func named<Value: RawRepresentable<String>>(_ part: String, as type: Value.Type = Value.self) throws -> Value {
        let text = try parameters.require(part)
        guard let value = Value(rawValue: text) else {
            throw VMSyncError(.notFound, "\"\(text.prefix(80))\" can't be the name of a \(part)")
        }
        return value
    }
}

/// An error with a status that says more than that of its code.
struct StatusError: Error {
    let status: Int
    let error: VMSyncError
}

/// Finds out who asks, before anything else is done.
struct Authentication: RouterMiddleware {
    let service: SyncService

    func handle(
        _ request: Request, context: SyncContext, next: (Request, SyncContext) async throws -> Response
    ) async throws -> Response {
        guard let header = request.headers[.authorization], header.hasPrefix("Bearer ") else {
            throw VMSyncError(.unauthorized, "this needs a token", hint: "vmsync join")
        }
        var context = context
        context.device = try await service.device(token: String(header.dropFirst("Bearer ".count)))
        return try await next(request, context)
    }
}

/// Turns every error into a problem.
struct Problems: RouterMiddleware {
    let service: SyncService

    func handle(
        _ request: Request, context: SyncContext, next: (Request, SyncContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let failure as StatusError {
            return try response(Problem(failure.error, status: failure.status))
        } catch is NIOTooManyBytesError {
            return try response(Problem(VMSyncError(.invalidInput, "the body is too long"), status: 413))
        } catch let error as HTTPError where error.status == .notFound {
            return try response(Problem(VMSyncError(.notFound, "there is no \(request.method) \(request.uri.path)")))
        } catch let error as VMSyncError {
            return try await response(Problem(known(error, context)))
        } catch {
            return try await response(Problem(known(VMSyncError(error), context)))
        }
    }

    private func known(_ error: VMSyncError, _ context: SyncContext) async -> VMSyncError {
        let status = Problem.status(of: error.code)
        if status >= 500 { context.logger.error("a request failed", metadata: ["error": "\(error)"]) }
        return status == 409 ? await service.worded(error) : error
    }

    private func response(_ problem: Problem) throws -> Response {
        Response(
            status: .init(code: problem.status, reasonPhrase: problem.title),
            headers: [.contentType: Problem.mediaType],
            body: ResponseBody(byteBuffer: try WireJSON.encode(problem)))
    }
}

extension Request {
    /// The JSON in the body, of at most `bytesMax` bytes.
    func message<Message: Decodable>(
        _ type: Message.Type = Message.self, bytesMax: Int = APILimits.requestBytesMax
    ) async throws -> Message {
        try WireJSON.decode(type, from: try await body.collect(upTo: bytesMax), failing: .invalidInput)
    }

    /// The bytes that the body will have.
    /// - Throws: 411 without a good `Content-Length`, 413 if they are more than `max`.
    func contentLength(max: UInt64) throws -> UInt64 {
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
func json(_ value: some Encodable) throws -> Response {
    Response(
        status: .ok, headers: [.contentType: "application/json"],
        body: ResponseBody(byteBuffer: try WireJSON.encode(value)))
}

/// A good answer that has nothing to say.
let noContent = Response(status: .noContent)
