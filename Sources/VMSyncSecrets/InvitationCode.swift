import Crypto
import Foundation
import VMSyncCore

/// What a new device joins with, typed by a person: letters that work once. (docs/protocol/trust.md, "Admission")
///
/// A server's own, for a new account, has 16. A member's has 24, of which the server knows the first 8, the ticket; with
/// the rest the two devices prove to each other that they mean each other.
package struct InvitationCode: Sendable, Hashable {
    package enum Kind: Sendable {
        case newAccount
        case member
    }

    package let kind: Kind
    /// Without dashes, in lower case.
    private let letters: String

    private static let newAccountLetters = 16
    private static let ticketLetters = 8
    private static let memberLetters = 24
    /// Letters that people take for another, or that a phone writes instead.
    private static let mistaken: [Character: Character] = ["o": "0", "i": "1", "l": "1"]

    package static func random(_ kind: Kind) -> InvitationCode {
        let letters = Identifier.random() + Identifier.random()
        return InvitationCode(
            kind: kind, letters: String(letters.prefix(kind == .member ? memberLetters : newAccountLetters)))
    }

    private init(kind: Kind, letters: String) {
        self.kind = kind
        self.letters = letters
    }

    /// A code as somebody typed it. Whether it is good shows at the server.
    /// - Throws: `invalidInput` if it has another number of letters.
    package init(typed: String) throws(VMSyncError) {
        let kept = typed.lowercased().filter { !$0.isWhitespace && $0 != "-" }.prefix(2 * Self.memberLetters)
        letters = String(kept.map { Self.mistaken[$0] ?? $0 })
        switch letters.count {
        case Self.newAccountLetters: kind = .newAccount
        case Self.memberLetters: kind = .member
        default:
            throw VMSyncError(
                .invalidInput, "an invitation has 16 or 24 letters, this one \(letters.count)",
                hint: "on a joined device: vmsync invite; on the server, for the first one: vmsync server invite")
        }
    }

    /// The code in groups of four.
    package var text: String {
        var groups: [Substring] = []
        var rest = letters[...]
        while !rest.isEmpty {
            groups.append(rest.prefix(4))
            rest = rest.dropFirst(4)
        }
        return groups.joined(separator: "-")
    }

    /// What the server may know of it: all of its own, the ticket of a member's.
    package var ticket: String { kind == .member ? String(letters.prefix(Self.ticketLetters)) : letters }

    /// By which a server keeps a ticket.
    package static func hash(ofTicket ticket: String) -> ContentHash {
        ContentHash(digest: SHA256.hash(data: Data(ticket.utf8)))
    }

    // MARK: What the rest proves

    /// That the device with these keys has the whole code.
    package func proof(of device: PublicIdentity) -> Data {
        code("vmsync join 1\0", device.certificate + device.agreement)
    }

    /// Whether `proof` is the device's; it is compared in constant time.
    package func isProof(_ proof: Data, of device: PublicIdentity) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(
            proof, authenticating: Data("vmsync join 1\0".utf8) + device.certificate + device.agreement, using: secret)
    }

    /// That the account is the one which the code is of.
    package func welcome(to account: ContentHash) -> Data { code("vmsync welcome 1\0", Data(account.rawValue.utf8)) }

    package func isWelcome(_ welcome: Data, to account: ContentHash) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(
            welcome, authenticating: Data("vmsync welcome 1\0".utf8) + Data(account.rawValue.utf8), using: secret)
    }

    private var secret: SymmetricKey { SymmetricKey(data: Data(letters.dropFirst(Self.ticketLetters).utf8)) }

    private func code(_ purpose: String, _ bytes: Data) -> Data {
        Data(HMAC<SHA256>.authenticationCode(for: Data(purpose.utf8) + bytes, using: secret))
    }
}
