import Foundation
import Synchronization
import VMSyncCore

/// Where a sync server is, and by what it is known: `https://HOST:PORT/#ID`. (docs/protocol/trust.md, "The wire")
package struct ServerAddress: Hashable, Sendable {
    package let host: String
    package let port: Int
    /// The hash of the server's certificate.
    package let id: DeviceID

    package static let standardPort = 7430

    package init(host: String, port: Int, id: DeviceID) {
        self.host = host
        self.port = port
        self.id = id
    }

    /// - Throws: `invalidInput` for what can't be an address.
    package init(_ text: String) throws(VMSyncError) {
        guard let parts = URLComponents(string: text), parts.scheme == "https", let host = parts.host, !host.isEmpty,
            parts.path.isEmpty || parts.path == "/", parts.query == nil
        else {
            throw VMSyncError(
                .invalidInput, "\"\(text)\" can't be a sync server", hint: "use the address that the server has printed"
            )
        }
        guard let id = parts.fragment.flatMap({ DeviceID(rawValue: $0) ?? DeviceID(typed: $0) }) else {
            throw VMSyncError(
                .invalidInput,
                "the address says nothing by which the server can be known: its part behind # is "
                    + (parts.fragment == nil ? "missing" : "damaged"),
                hint: "use the whole address that the server has printed, https://HOST:PORT/#ID")
        }
        self.init(
            host: host.trimmingCharacters(in: ["[", "]"]), port: parts.port ?? Self.standardPort, id: id)
    }

    /// Without what it is known by, as requests begin.
    package var url: String { "https://\(host.contains(":") ? "[\(host)]" : host):\(port)" }

    /// As a person passes it on.
    package var text: String { "\(url)/#\(id)" }
}

/// The addresses of the servers on one store, of which one is used until it doesn't answer.
package final class ServerRing: Sendable {
    private struct State {
        var urls: [String]
        var current = 0
    }

    private let state: Mutex<State>

    /// - Parameter urls: at least one, such as `https://127.0.0.1:7430`.
    package init(_ urls: [String]) {
        precondition(!urls.isEmpty, "there is at least one server")
        state = Mutex(State(urls: urls))
    }

    package var current: String { state.withLock { $0.urls[$0.current] } }

    package var urls: [String] { state.withLock { $0.urls } }

    /// Goes on to the next, unless somebody has done so since `url` was the current one.
    func skip(_ url: String) {
        state.withLock { state in
            if state.urls[state.current] == url { state.current = (state.current + 1) % state.urls.count }
        }
    }

    /// What the servers say of each other. Those that were known stay, for whoever is away may come back.
    /// - Returns: whether any is new.
    package func learn(_ urls: [String]) -> Bool {
        state.withLock { state in
            let urls = urls.filter(Self.isAddress).prefix(Self.urlsMax)
            let new = urls.filter { !state.urls.contains($0) }
            state.urls += new
            // The oldest that aren't there any more go first, but never the one in use.
            while state.urls.count > Self.urlsMax, let gone = state.urls.firstIndex(where: { !urls.contains($0) }),
                gone != state.current
            {
                state.urls.remove(at: gone)
                if gone < state.current { state.current -= 1 }
            }
            return !new.isEmpty
        }
    }

    /// Nothing but TLS, to a host and a port.
    private static func isAddress(_ url: String) -> Bool {
        guard let parts = URLComponents(string: url), parts.scheme == "https", parts.host?.isEmpty == false else {
            return false
        }
        return parts.path.isEmpty && parts.query == nil && parts.fragment == nil && parts.user == nil
    }

    /// More servers than anybody runs on one store.
    private static let urlsMax = 16
}
