#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import VMSyncCore
import VMSyncSecrets

/// One device's view of its sync servers: a typed method per request. It keeps no state but which of them answers; copies
/// are cheap.
///
/// Every method throws `VMSyncError`: what the server answered, `unavailable` if it could not be reached or broke off
/// (then the request may have been carried out, and may be repeated), `cancelled` when its task was.
package struct SyncClient: Sendable {
    package let servers: ServerRing
    private let http: HTTPClient

    /// The address of the server that was last used, such as `https://127.0.0.1:7430`.
    package var url: String { servers.current }

    /// How long a request may take whose body and answer are small.
    static let requestTimeout: TimeAmount = .seconds(60)
    /// How long a transfer may take; a dead one is noticed much earlier, by silence.
    static let transferTimeout: TimeAmount = .hours(48)
    /// Three heartbeats.
    package static let silenceMax = TimeAmount.seconds(3 * APILimits.heartbeat.components.seconds)
    /// A line that an upload fills drops what would open another connection, again and again, for seconds.
    package static let connectTimeout = TimeAmount.seconds(10)
    /// What the kernel takes of a body before it is sent. It would take megabytes, and what it has counts as sent: then a slow
    /// link looks like a server that doesn't answer. A fast one is still kept busy.
    private static let unsentBytesMax = 128 << 10

    /// - Parameter httpClient: shared by all clients of the device; made by `makeHTTPClient`.
    package init(servers: ServerRing, httpClient: HTTPClient) {
        self.servers = servers
        http = httpClient
    }

    /// An HTTP client that notices a dead server, and sends small messages at once. Shut it down at the end.
    /// - Parameters:
    ///   - keys: the device's.
    ///   - server: the certificate that the servers have, in DER.
    ///   - meter: counts all that goes over its connections.
    ///   - silence: a server that says nothing for longer is gone.
    ///   - connect: a server that isn't reached by then isn't there.
    package static func makeHTTPClient(
        _ keys: DeviceKeys, server: [UInt8], meter: TrafficMeter? = nil, silence: TimeAmount = silenceMax,
        connect: TimeAmount = connectTimeout
    ) throws -> HTTPClient {
        var configuration = HTTPClient.Configuration(tlsConfiguration: try PinnedTLS.client(keys, server: server))
        configuration.httpVersion = .http1Only
        // While a body is sent the kernel looks after that: async-http-client 1.37 traps when a connection becomes writable
        // just as a request with a write timeout begins.
        configuration.timeout = .init(connect: connect, read: silence)
        // Kept connections must end here before they end at the server, or a request meets a closing one.
        configuration.connectionPool.idleTimeout = .seconds(30)
        // An event stream, a transfer and several requests per VM, at the same time and without waiting.
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
        // Who calls decides when to try again; a refused connection is news that must not wait.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.redirectConfiguration = .disallow
        configuration.http1_1ConnectionDebugInitializer = { channel in
            func set(_ option: CInt, _ value: Int) -> EventLoopFuture<Void> {
                channel.setOption(.tcpOption(NIOBSDSocket.Option(rawValue: option)), value: value)
            }
            let counted = meter.map { channel.pipeline.addHandler($0.makeHandler(), position: .first) }
            return .andAllSucceed(
                [
                    counted ?? channel.eventLoop.makeSucceededVoidFuture(),
                    set(TCP_NOTSENT_LOWAT, Self.unsentBytesMax),
                    set(TCP_USER_TIMEOUT, Int(silence.nanoseconds / 1_000_000)),
                ], on: channel.eventLoop)
        }
        return HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    // MARK: What every request has in common

    /// Sends a request and gives its answer once its head is there and good.
    func send(
        _ method: HTTPMethod, _ path: String, headers: [(String, String)] = [], body: HTTPClientRequest.Body? = nil,
        timeout: TimeAmount = requestTimeout
    ) async throws -> HTTPClientResponse {
        var tried: Set<String> = []
        while true {
            let url = servers.current
            do {
                var request = HTTPClientRequest(url: "\(url)/api/v1\(path)")
                request.method = method
                for (name, value) in headers { request.headers.add(name: name, value: value) }
                request.body = body
                let response = try await http.execute(request, timeout: timeout)
                guard (200..<300).contains(response.status.code) else { throw await problem(of: response) }
                return response
            } catch {
                let known = translated(error)
                guard known.code == .unavailable else { throw known }
                servers.skip(url)
                // Nothing was sent: another server may do it at once. Of anything else it isn't known what became of it,
                // and who asked repeats it.
                guard Self.isUnconnected(error), tried.insert(url).inserted, !tried.contains(servers.current) else {
                    throw known
                }
            }
        }
    }

    /// Whether there was no connection to send anything on.
    private static func isUnconnected(_ error: any Error) -> Bool {
        switch error {
        case let failure as HTTPClientError:
            [.connectTimeout, .tlsHandshakeTimeout, .getConnectionFromPoolTimeout].contains(failure)
        case let failure as IOError: [ECONNREFUSED, EHOSTUNREACH, ENETUNREACH].contains(failure.errnoCode)
        default: error is NIOConnectionError
        }
    }

    /// Sends `message`, if any, and reads the answer.
    func ask<Answer: Decodable>(
        _ method: HTTPMethod, _ path: String, _ message: (any Encodable & Sendable)? = nil,
        as type: Answer.Type = Answer.self
    ) async throws -> Answer {
        try await answer(of: try await sendJSON(method, path, message))
    }

    /// Sends `message`, if any, and expects no answer but success.
    func tell(_ method: HTTPMethod, _ path: String, _ message: (any Encodable & Sendable)? = nil) async throws {
        _ = try await collect(try await sendJSON(method, path, message), bytesMax: APILimits.answerBytesMax)
    }

    /// Sends bytes as they are, and expects no answer.
    func put(_ bytes: some Collection<UInt8>, at path: String) async throws {
        let response = try await send(.PUT, path, body: .bytes(ByteBuffer(bytes: bytes)))
        _ = try await collect(response, bytesMax: APILimits.answerBytesMax)
    }

    private func sendJSON(
        _ method: HTTPMethod, _ path: String, _ message: (any Encodable & Sendable)?
    ) async throws -> HTTPClientResponse {
        guard let message else { return try await send(method, path) }
        return try await send(
            method, path, headers: [("Content-Type", "application/json")], body: .bytes(try WireJSON.encode(message)))
    }

    /// Reads a JSON answer to its end.
    func answer<Answer: Decodable>(of response: HTTPClientResponse) async throws -> Answer {
        let body = try await collect(response, bytesMax: APILimits.answerBytesMax)
        return try WireJSON.decode(Answer.self, from: body, failing: .corrupt)
    }

    /// Reads a body to its end, so that its connection can be used again.
    func collect(_ response: HTTPClientResponse, bytesMax: Int) async throws -> ByteBuffer {
        do {
            return try await response.body.collect(upTo: bytesMax)
        } catch is NIOTooManyBytesError {
            throw VMSyncError(.corrupt, "\(url) sent more than \(bytesMax) bytes")
        } catch {
            throw translated(error)
        }
    }

    private func problem(of response: HTTPClientResponse) async -> VMSyncError {
        // A problem is a few hundred bytes; whatever is longer comes from something that isn't a sync server.
        let body = try? await response.body.collect(upTo: 64 << 10)
        if let body, let problem = try? WireJSON.decode(Problem.self, from: body, failing: .corrupt) {
            return problem.error
        }
        return VMSyncError(
            response.status.code >= 500 ? .unavailable : .invalidInput, "\(url) answered \(response.status)",
            hint: "is this the address of a vmsync server?")
    }

    /// `error` as the device should see it.
    func translated(_ error: any Error) -> VMSyncError {
        switch error {
        case let known as VMSyncError: known
        case is CancellationError: VMSyncError(.cancelled, "cancelled")
        case let failure as HTTPClientError where failure == .cancelled: VMSyncError(.cancelled, "cancelled")
        default:
            VMSyncError(
                .unavailable, "the sync server at \(url) does not answer: \(error)",
                hint: "check that it runs there: vmsync server run")
        }
    }
}
