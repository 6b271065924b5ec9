import Foundation
import VMSyncCore
import VMSyncPolicy
import VMSyncSecrets

/// The link to a share, as people pass it on. (docs/protocol/links.md)
package struct ShareLink: Hashable, Sendable {
    /// Of the server, with its id.
    package let server: ServerAddress
    package let terms: ShareTerms
    package let key: ShareKey

    package init(server: ServerAddress, terms: ShareTerms, key: ShareKey) {
        self.server = server
        self.terms = terms
        self.key = key
    }

    package var tag: String { key.tag(of: fields.map(\.value)) }

    private var fields: [(name: String, value: String)] {
        [
            ("id", terms.id.rawValue), ("from", Self.text(of: terms.start)), ("until", Self.text(of: terms.expires)),
            ("uses", terms.uses.map(String.init) ?? ""), ("allow", terms.allow.rawValue),
        ]
    }

    package var url: String {
        let query = fields.dropFirst().filter { !$0.value.isEmpty }.map { "\($0.name)=\($0.value)" } + ["tag=\(tag)"]
        return "\(server.url)/share/\(terms.id)?\(query.joined(separator: "&"))#\(server.id).\(key.text)"
    }

    /// What somebody has been given.
    /// - Throws: `invalidInput` if it isn't whole, or one of its parts was changed.
    package init(_ text: String) throws(VMSyncError) {
        guard let url = URLComponents(string: text.trimmingCharacters(in: .whitespacesAndNewlines)),
            let fragment = url.fragment?.split(separator: ".", maxSplits: 1).map(String.init), fragment.count == 2,
            let host = url.host, url.scheme == "https", url.path.hasPrefix(Self.path)
        else { throw Self.notWhole }
        let address = "https://\(host)\(url.port.map { ":\($0)" } ?? "")/#\(fragment[0])"
        server = try ServerAddress(address)
        let values = Dictionary(
            (url.queryItems ?? []).map { ($0.name, $0.value ?? "") }, uniquingKeysWith: { first, _ in first })
        guard let id = ShareID(rawValue: String(url.path.dropFirst(Self.path.count))),
            let start = values["from"].flatMap(Self.time), let expires = values["until"].flatMap(Self.time),
            let allow = values["allow"].flatMap(ShareTerms.Permission.init), let key = ShareKey(text: fragment[1])
        else { throw Self.notWhole }
        let uses = values["uses"].map { Int($0) }
        if let uses, uses == nil { throw Self.notWhole }
        terms = ShareTerms(id: id, start: start, expires: expires, uses: uses ?? nil, allow: allow)
        self.key = key
        guard values["tag"] == tag else {
            throw VMSyncError(
                .invalidInput, "the link was changed, or a part of it is missing", hint: "ask for the link again")
        }
    }

    private static let path = "/share/"
    private static let notWhole = VMSyncError(
        .invalidInput, "that is no link to a share, or not all of it", hint: "put it in quotes: vmsync open 'https://…'"
    )

    // MARK: Times

    /// UTC, in whole seconds: "20261122T231500Z".
    private static func text(of time: Timestamp) -> String { formatter.string(from: time.date) }

    private static func time(_ text: String) -> Timestamp? {
        formatter.date(from: text).map { Timestamp(rawValue: Int64($0.timeIntervalSince1970) * 1000) }
    }

    private static var formatter: DateFormatter {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = .gmt
        formatter.dateFormat = "yyyyMMdd'T'HHmmss'Z'"
        formatter.isLenient = false
        return formatter
    }
}

extension Timestamp {
    fileprivate var date: Date { Date(timeIntervalSince1970: Double(rawValue) / 1000) }
}
