import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import VMSyncCore

extension SyncClient {
    /// What happens on the server, from a snapshot on. While somebody iterates, the device is `connected`.
    package func events() -> SyncEvents { SyncEvents(client: self) }
}

/// The server's events. It connects when iteration begins, and again whenever the connection breaks.
///
/// Nothing is read ahead: for a slow reader the server joins the changes of a VM into one event.
package struct SyncEvents: AsyncSequence, Sendable {
    package typealias Element = SyncEvent
    let client: SyncClient

    package func makeAsyncIterator() -> AsyncIterator { AsyncIterator(client: client) }

    package struct AsyncIterator: AsyncIteratorProtocol {
        private let client: SyncClient
        private var body: HTTPClientResponse.Body.AsyncIterator?
        private var parser = ServerSentEventParser()
        /// Attempts since the last whole snapshot.
        private var attempts = 0
        /// Whether the reader knows that there is no connection.
        private var toldOfBreak = false

        init(client: SyncClient) { self.client = client }

        /// The next event; one `disconnected` for each time that the connection breaks or can't be made.
        /// - Throws: `unauthorized`, which no repetition heals; `cancelled`.
        package mutating func next() async throws -> SyncEvent? {
            while true {
                do {
                    return try await event()
                } catch {
                    let failure = client.translated(error)
                    if failure.code == .unauthorized || failure.code == .cancelled { throw failure }
                    body = nil
                    guard toldOfBreak else {
                        toldOfBreak = true
                        return .disconnected(failure)
                    }
                }
            }
        }

        private mutating func event() async throws -> SyncEvent {
            while true {
                if body == nil { try await connect() }
                while let message = try parser.next() {
                    guard let event = try SyncEvent(message) else { continue }
                    if case .ready = event { attempts = 0 }
                    toldOfBreak = false
                    return event
                }
                guard let bytes = try await body?.next() else {
                    throw VMSyncError(.unavailable, "the sync server ended the event stream")
                }
                parser.feed(bytes)
            }
        }

        private mutating func connect() async throws {
            if attempts > 0 { try await Backoff().sleep(attempt: attempts) }
            attempts += 1
            parser = ServerSentEventParser()
            let response = try await client.send(.GET, "/events", timeout: SyncClient.transferTimeout)
            body = response.body.makeAsyncIterator()
        }
    }
}
