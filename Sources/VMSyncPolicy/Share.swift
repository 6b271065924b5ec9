import VMSyncCore

/// A state that was given away for a while; its form is that of `Identifier`.
package struct ShareID: Hashable, Sendable, Codable, CustomStringConvertible, RawRepresentable {
    package let rawValue: String
    package init?(rawValue: String) {
        guard Identifier.isValid(rawValue) else { return nil }
        self.rawValue = rawValue
    }
    package static func random() -> ShareID { ShareID(unchecked: Identifier.random()) }
    private init(unchecked rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }
}

/// What a link allows, and when. (docs/protocol/links.md)
package struct ShareTerms: Hashable, Sendable, Codable {
    package enum Permission: String, Hashable, Sendable, Codable {
        /// Memory and disks.
        case run
        /// The disks, as after a power failure.
        case disk
    }

    package var id: ShareID
    /// By the server's clock, in whole seconds.
    package var start: Timestamp
    package var expires: Timestamp
    /// How often it may be opened; nil for as often as one likes.
    package var uses: Int?
    package var allow: Permission

    package init(id: ShareID, start: Timestamp, expires: Timestamp, uses: Int?, allow: Permission) {
        self.id = id
        self.start = start
        self.expires = expires
        self.uses = uses
        self.allow = allow
    }
}

/// A share as the server knows it.
package struct ShareRecord: Hashable, Sendable, Codable {
    package let share: ShareTerms
    /// That it was made of, and by whom.
    package let vm: VMID
    package let device: DeviceID
    package let created: Timestamp
    /// How often it was opened.
    package var used: Int
    package var revoked: Bool

    package init(
        share: ShareTerms, vm: VMID, device: DeviceID, created: Timestamp, used: Int = 0, revoked: Bool = false
    ) {
        self.share = share
        self.vm = vm
        self.device = device
        self.created = created
        self.used = used
        self.revoked = revoked
    }

    /// The longest that a share may last.
    package static let lifetimeMax = Duration.seconds(30 * 24 * 60 * 60)
    /// After it has ended its record stays for so long, to say why it can't be opened.
    package static let memory = Duration.seconds(30 * 24 * 60 * 60)
    /// A device that opens it again within this time goes on with what it has begun.
    package static let sameUse = Duration.seconds(60 * 60)

    /// - Throws: `invalidInput` if it can't be meant.
    package func validate() throws(VMSyncError) {
        let latest = max(share.start, created) + Self.lifetimeMax
        guard share.expires > share.start, share.expires > created, share.expires <= latest else {
            throw VMSyncError(.invalidInput, "a share lasts 30 days at most, and ends after it has begun")
        }
        guard share.uses ?? 1 > 0 else { throw VMSyncError(.invalidInput, "a share is opened once at least") }
    }

    /// Whether it may be opened with a link that says `terms`, and counts it.
    /// - Parameters:
    ///   - tag: of the link, and as it was when the share was made.
    ///   - lastUse: when the same device has opened it last.
    /// - Throws: `unauthorized`, `invalidInput`, with the reason.
    package mutating func open(
        _ terms: ShareTerms, tag: (given: String, known: String), lastUse: Timestamp?, at now: Timestamp
    ) throws(VMSyncError) {
        let fields: [(String, Bool)] = [
            ("from", terms.start == share.start), ("until", terms.expires == share.expires),
            ("uses", terms.uses == share.uses), ("allow", terms.allow == share.allow), ("tag", tag.given == tag.known),
        ]
        if let changed = fields.first(where: { !$0.1 })?.0 {
            throw VMSyncError(
                .invalidInput, "the link was changed: \"\(changed)\" isn't what it was made with",
                hint: "ask for the link again")
        }
        let hint = "ask for another one"
        if revoked { throw VMSyncError(.unauthorized, "the link was revoked by who has shared it", hint: hint) }
        guard now >= share.start else {
            throw VMSyncError(.unauthorized, "the link isn't valid yet: it begins later", hint: "try again then")
        }
        guard now < share.expires else { throw VMSyncError(.unauthorized, "the link has expired", hint: hint) }
        if let lastUse, now < lastUse + Self.sameUse { return }
        if let uses = share.uses, used >= uses {
            throw VMSyncError(
                .unauthorized, uses == 1 ? "the link was used already" : "the link was used \(uses) times already",
                hint: hint)
        }
        used += 1
    }

    /// Whether its bytes can go.
    package func isOver(at now: Timestamp) -> Bool { revoked || now >= share.expires }
}
