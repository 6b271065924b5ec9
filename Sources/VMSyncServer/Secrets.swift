import Crypto
import VMSyncCore

/// What a device proves itself with: 256 random bits. The server keeps only `hash`, so its data folder lets nobody in.
struct Token {
    let text: String

    static func random() -> Token {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<32).map { _ in UInt8.random(in: 0...255, using: &generator) }
        return Token(text: ContentHash(digest: bytes).rawValue)
    }

    var hash: ContentHash { ContentHash(digest: SHA256.hash(data: Array(text.utf8))) }
}

/// What a new device joins with, typed by a person: 80 random bits that work once, as four groups of four letters.
struct InvitationCode {
    /// Without dashes, in lower case.
    private let letters: String
    private static let lettersCount = 16
    /// Letters that people take for another, or that a phone writes instead.
    private static let mistaken: [Character: Character] = ["o": "0", "i": "1", "l": "1"]

    static func random() -> InvitationCode { InvitationCode(typed: String(Identifier.random().prefix(lettersCount))) }

    /// A code as somebody typed it. Whether it is good shows in the store.
    init(typed: String) {
        let kept = typed.lowercased().filter { !$0.isWhitespace && $0 != "-" }.prefix(2 * Self.lettersCount)
        letters = String(kept.map { Self.mistaken[$0] ?? $0 })
    }

    /// The code in groups.
    var text: String {
        var groups: [Substring] = []
        var rest = letters[...]
        while !rest.isEmpty {
            groups.append(rest.prefix(4))
            rest = rest.dropFirst(4)
        }
        return groups.joined(separator: "-")
    }

    var hash: ContentHash { ContentHash(digest: SHA256.hash(data: Array(letters.utf8))) }
}
