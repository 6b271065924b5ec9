import AsyncHTTPClient
import Foundation
import NIOCore
import NIOFoundationCompat
import NIOHTTP1
import NIOSSL
import Synchronization
import VMSyncCore

/// Signed requests to one bucket. All errors are `VMSyncError`.
final class S3Client: Sendable {
    let location: S3Location
    private let signature: S3Signature
    private let http: HTTPClient
    /// Milliseconds by which the store's clock is ahead of ours, as far as it complained.
    private let skew = Mutex<Int64>(0)

    /// How long a request may take; 4 MiB over 0.5 Mbit/s.
    private static let timeout: TimeAmount = .seconds(120)
    /// Bytes of an answer that isn't a blob: a listing of 1,000 keys has 300 KB.
    private static let answerBytesMax = 4 << 20

    /// - Throws: `invalidInput` if the certificates of the location can't be read.
    init(_ location: S3Location, _ credentials: S3Credentials) throws(VMSyncError) {
        self.location = location
        signature = S3Signature(credentials: credentials, region: location.region)
        var configuration = HTTPClient.Configuration()
        configuration.timeout = .init(connect: .seconds(5), read: .seconds(60), write: .seconds(60))
        configuration.redirectConfiguration = .disallow
        // Who calls retries; a store behind several addresses is no reason to wait for a dead one.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.connectionPool.idleTimeout = .seconds(30)
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 64
        if let file = location.certificates {
            var tls = TLSConfiguration.makeClientConfiguration()
            do {
                tls.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(file))
            } catch {
                throw VMSyncError(.invalidInput, "\(file) holds no certificates: \(error)")
            }
            configuration.tlsConfiguration = tls
        }
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    func close() async throws { try await http.shutdown() }

    /// What the store answered.
    struct Response: Sendable {
        let status: Int
        let body: ByteBuffer
        let length: UInt64?
    }

    /// Sends a request, and again once if the store finds our clock wrong.
    /// - Parameter accepted: statuses that the caller wants to see, besides those of success.
    /// - Throws: what `S3Client.error` makes of any other answer; `unavailable` if none came.
    func send(
        _ method: HTTPMethod, key: String, query: [(String, String)] = [], headers: [(String, String)] = [],
        body: ByteBuffer? = nil, hash: ContentHash = S3Signature.emptyBody, accepted: Set<Int> = []
    ) async throws -> Response {
        for attempt in 1... {
            let response = try await exchange(method, key, query, headers, body, hash)
            let status = Int(response.status.code)
            // A body that isn't wanted is read all the same, so that the connection can be used again.
            let bytes = try await Self.collected(response, bytesMax: max(Self.answerBytesMax, 8 << 20))
            if (200..<300).contains(status) || accepted.contains(status) {
                let length = response.headers.first(name: "content-length").flatMap { UInt64($0) }
                return Response(status: status, body: bytes, length: length)
            }
            let answer = try? S3Answer(Data(buffer: bytes))
            if attempt == 1, answer?.first("Code") == "RequestTimeTooSkewed",
                adopt(response.headers.first(name: "date"))
            {
                continue
            }
            throw error(status, answer)
        }
        preconditionFailure("the second attempt returns or throws")
    }

    private func exchange(
        _ method: HTTPMethod, _ key: String, _ query: [(String, String)], _ headers: [(String, String)],
        _ body: ByteBuffer?, _ hash: ContentHash
    ) async throws -> HTTPClientResponse {
        let path = location.path(of: key)
        let time = Timestamp.now + .milliseconds(skew.withLock { $0 })
        var request = HTTPClientRequest(url: location.url(path: path, query: S3Signature.query(query)))
        request.method = method
        let signed = signature.headers(
            method: method.rawValue, host: location.host, path: path, query: query, headers: headers, body: hash,
            at: time)
        // The host is written by the client itself, in the same form.
        for (name, value) in signed + headers where name != "host" { request.headers.add(name: name, value: value) }
        if let body { request.body = .bytes(body) }
        do {
            return try await http.execute(request, timeout: Self.timeout)
        } catch {
            throw Self.translated(error, location)
        }
    }

    private static func collected(_ response: HTTPClientResponse, bytesMax: Int) async throws -> ByteBuffer {
        do {
            return try await response.body.collect(upTo: bytesMax)
        } catch let error as NIOTooManyBytesError {
            throw VMSyncError(.corrupt, "the S3 store answered with too many bytes: \(error)")
        } catch {
            throw VMSyncError(.unavailable, "the S3 store broke off: \(error)")
        }
    }

    private static func translated(_ error: any Error, _ location: S3Location) -> VMSyncError {
        switch error {
        case is CancellationError: VMSyncError(.cancelled, "cancelled")
        case let failure as HTTPClientError where failure == .cancelled: VMSyncError(.cancelled, "cancelled")
        default:
            VMSyncError(
                .unavailable, "the S3 store at \(location.endpoint) does not answer: \(error)", hint: "check --blobs")
        }
    }

    /// Takes over the time that the store gave.
    private func adopt(_ date: String?) -> Bool {
        let format = DateFormatter()
        format.locale = Locale(identifier: "en_US_POSIX")
        format.timeZone = TimeZone(secondsFromGMT: 0)
        format.dateFormat = "EEE, dd MMM yyyy HH:mm:ss zzz"
        guard let date = date.flatMap(format.date(from:)) else { return false }
        skew.withLock { $0 = Int64(date.timeIntervalSince1970 * 1000) - Timestamp.now.rawValue }
        return true
    }

    /// A refusal in our words. What may go better next time is `unavailable`.
    private func error(_ status: Int, _ answer: S3Answer?) -> VMSyncError {
        let code = answer?.first("Code") ?? "status \(status)"
        let text = "the S3 store refused: \(code)" + (answer?.first("Message").map { ", \($0)" } ?? "")
        switch (status, code) {
        case (_, "XAmzContentSHA256Mismatch"), (_, "BadDigest"), (_, "IncompleteBody"):
            return VMSyncError(.corrupt, text)
        case (_, "RequestTimeTooSkewed"):
            return VMSyncError(.unauthorized, text, hint: "set this machine's clock")
        case (_, "NoSuchBucket"):
            return VMSyncError(
                .notFound, text, hint: "make the bucket \(location.bucket), or choose another with --blobs")
        case (_, "QuotaExceeded"), (507, _), (413, _): return VMSyncError(.noSpace, text)
        case (401, _), (403, _):
            return VMSyncError(.unauthorized, text, hint: "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        case (404, _): return VMSyncError(.notFound, text)
        case (408, _), (409, _), (429, _), (500..., _): return VMSyncError(.unavailable, text)
        default: return VMSyncError(.io, text)
        }
    }
}
