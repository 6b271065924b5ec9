import Crypto
import Foundation
import VMSyncCore

/// The key of one share, which stands in its link behind the `#`. (docs/protocol/links.md)
package struct ShareKey: Sendable, Hashable {
    package let subjectKey: SubjectKey

    package static func random() -> ShareKey { ShareKey(.random(generation: 1)) }

    private init(_ key: SubjectKey) { subjectKey = key }

    /// What a link says; nil if that is no key.
    package init?(text: String) {
        guard let bytes = Data(base64URL: text), bytes.count == SubjectKey.bytes,
            let key = try? SubjectKey(generation: 1, bytes: bytes)
        else { return nil }
        self.init(key)
    }

    package var text: String { subjectKey.withBytes { Data($0) }.base64URL }

    /// The tag of a link with these fields: whoever changes one doesn't know it.
    package func tag(of fields: [String]) -> String {
        let tag = subjectKey.shareTag(of: Data(fields.joined(separator: "\n").utf8))
        return Data(tag.prefix(Self.tagBytes)).base64URL
    }

    private static let tagBytes = 16
}

extension Data {
    /// RFC 4648, section 5, without padding.
    fileprivate var base64URL: String {
        base64EncodedString().replacingOccurrences(of: "+", with: "-").replacingOccurrences(of: "/", with: "_")
            .replacingOccurrences(of: "=", with: "")
    }

    fileprivate init?(base64URL text: String) {
        let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        self.init(
            base64Encoded: text.replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
                + padding)
    }
}
