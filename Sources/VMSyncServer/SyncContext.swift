import Hummingbird
import Logging
import NIOCore
import VMSyncAPI
import VMSyncCore
import VMSyncHTTP
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
