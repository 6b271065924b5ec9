import AsyncHTTPClient
import Foundation
import NIOCore
import NIOHTTP1
import VMSyncCore
import VMSyncPolicy

/// The command line's way to a daemon: HTTP over its unix socket.
package struct ControlClient: Sendable {
    private let base: String
    private let socket: String
    private let http: HTTPClient
    /// Longest line of an answer: a status with all VMs and metrics.
    private static let lineMax = 16 << 20
    /// A step like `create` on a large image takes as long as it takes; it tells its progress meanwhile.
    private static let longest = TimeAmount.hours(48)

    package init(socket: String, http: HTTPClient) {
        self.socket = socket
        self.http = http
        let host = socket.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? socket
        base = "http+unix://\(host)"
    }

    /// Calls `body` with a client of its own.
    package static func with<Result>(
        socket: String, _ body: (ControlClient) async throws -> Result
    ) async throws -> Result {
        var configuration = HTTPClient.Configuration()
        // A socket that nobody listens at won't get better by trying again for ten seconds.
        configuration.connectionPool.retryConnectionEstablishment = false
        let http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        let result: Result
        do { result = try await body(ControlClient(socket: socket, http: http)) } catch {
            try await http.shutdown()
            throw error
        }
        try await http.shutdown()
        return result
    }

    package func get<Answer: Decodable>(_ path: String, as type: Answer.Type = Answer.self) async throws -> Answer {
        try await ask(.GET, path)
    }

    package func post<Answer: Decodable>(_ path: String, as type: Answer.Type = Answer.self) async throws -> Answer {
        try await ask(.POST, path)
    }

    package func post<Answer: Decodable>(
        _ path: String, _ message: some Encodable, as type: Answer.Type = Answer.self
    ) async throws -> Answer {
        try await ask(.POST, path, body: .bytes(try WireJSON.encode(message)))
    }

    private func ask<Answer: Decodable>(
        _ method: HTTPMethod, _ path: String, body: HTTPClientRequest.Body? = nil
    ) async throws -> Answer {
        let response = try await send(method, path, body: body)
        let body = try await response.body.collect(upTo: Self.lineMax)
        return try WireJSON.decode(Answer.self, from: body, failing: .corrupt)
    }

    /// Does a step that may take long.
    /// - Throws: what the daemon reports; `unavailable` if it ends in the middle of it.
    package func run<Answer: Decodable>(
        _ path: String, _ message: some Encodable, as type: Answer.Type = Answer.self,
        progress: @Sendable (StepProgress) -> Void = { _ in }
    ) async throws -> Answer {
        let response = try await send(.POST, path, body: .bytes(try WireJSON.encode(message)))
        var buffer = ByteBuffer()
        do {
            for try await part in response.body {
                buffer.writeImmutableBuffer(part)
                while let line = try nextLine(&buffer) {
                    if let step = line.progress { progress(step) }
                    if let error = line.error { throw error.error }
                    if let result = line.result { return try result.decoded() }
                }
            }
        } catch let error as VMSyncError {
            throw error
        } catch is CancellationError {
            throw VMSyncError(.cancelled, "cancelled")
        } catch {
            throw gone(error)
        }
        throw VMSyncError(.unavailable, "the daemon ended in the middle of it", hint: "vmsync status")
    }

    private func nextLine(_ buffer: inout ByteBuffer) throws -> ControlLine? {
        guard let end = buffer.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) else {
            guard buffer.readableBytes <= Self.lineMax else {
                throw VMSyncError(.corrupt, "the daemon's answer is too long")
            }
            return nil
        }
        let length = end - buffer.readerIndex
        guard let line = buffer.readSlice(length: length), buffer.readSlice(length: 1) != nil else { return nil }
        return try WireJSON.decode(ControlLine.self, from: line, failing: .corrupt)
    }

    private func send(_ method: HTTPMethod, _ path: String, body: HTTPClientRequest.Body?) async throws
        -> HTTPClientResponse
    {
        var request = HTTPClientRequest(url: base + path)
        request.method = method
        request.body = body
        do {
            let response = try await http.execute(request, timeout: Self.longest)
            guard (200..<300).contains(response.status.code) else {
                let body = try await response.body.collect(upTo: 1 << 20)
                throw (try? WireJSON.decode(Problem.self, from: body, failing: .corrupt))?.error
                    ?? VMSyncError(.bug, "the daemon answered \(response.status)")
            }
            return response
        } catch let error as VMSyncError {
            throw error
        } catch is CancellationError {
            throw VMSyncError(.cancelled, "cancelled")
        } catch {
            throw gone(error)
        }
    }

    private func gone(_ error: any Error) -> VMSyncError {
        VMSyncError(.unavailable, "no daemon answers at \(socket): \(error)", hint: "vmsync daemon run")
    }
}
