import Hummingbird
import Logging
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncSecrets

/// The name of a header.
typealias HeaderName = HTTPFields.Element.Name

/// A member of an account.
struct Caller: Sendable, Hashable {
    let device: DeviceID
    /// In DER.
    let certificate: [UInt8]
    let account: ContentHash
}

/// One request on its way through the routes.
struct SyncContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    private let channel: any Channel
    /// Who asks, where only members may.
    fileprivate(set) var member: Caller?

    init(source: Source) {
        coreContext = .init(source: source)
        channel = source.channel
    }

    /// The device at the other end, by its certificate. Whose it is isn't known.
    func device() async throws -> DeviceID { SelfSignedCertificate.id(of: try await certificate()) }

    /// What it has shown, in DER.
    func certificate() async throws -> [UInt8] { try await PinnedTLS.peer(of: channel) }

    /// Who asks.
    func caller() throws(VMSyncError) -> Caller {
        guard let member else { throw VMSyncError(.bug, "a route for members doesn't ask for them") }
        return member
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

/// Lets members pass, and nobody else.
struct MembersOnly: RouterMiddleware {
    let service: SyncService

    func handle(
        _ request: Request, context: SyncContext, next: (Request, SyncContext) async throws -> Response
    ) async throws -> Response {
        var context = context
        context.member = try await service.member(with: try await context.certificate())
        return try await next(request, context)
    }
}

/// Turns every error into a problem.
struct Problems: RouterMiddleware {
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
            return try response(Problem(known(error, context)))
        } catch {
            return try response(Problem(known(VMSyncError(error), context)))
        }
    }

    private func known(_ error: VMSyncError, _ context: SyncContext) -> VMSyncError {
        if Problem.status(of: error.code) >= 500 {
            context.logger.error("a request failed", metadata: ["error": "\(error)"])
        }
        return error
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
