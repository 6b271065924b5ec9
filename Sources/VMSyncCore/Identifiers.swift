/// A VM, for ever: made once at `create`, the same on every device and on the server.
package struct VMID: Hashable, Sendable, Codable, CustomStringConvertible, RawRepresentable {
    package let rawValue: String
    /// Nil unless `rawValue` has the form that `random` gives, so that an id can always stand in a path or a URL.
    package init?(rawValue: String) {
        guard Identifier.isValid(rawValue) else { return nil }
        self.rawValue = rawValue
    }
    package static func random() -> VMID { VMID(unchecked: Identifier.random()) }
    private init(unchecked rawValue: String) { self.rawValue = rawValue }
    package var description: String { rawValue }
}

/// A machine that can run VMs: the SHA-256 of its certificate. (docs/protocol/trust.md, "Identities")
package struct DeviceID: Hashable, Sendable, Codable, CustomStringConvertible, RawRepresentable {
    /// In 52 letters, without check letters.
    package let rawValue: String

    /// Nil unless `rawValue` is the plain text of 32 bytes, so that an id can always stand in a path or a URL.
    package init?(rawValue: String) {
        guard CheckedText.bytes(ofPlain: rawValue) != nil else { return nil }
        self.rawValue = rawValue
    }

    /// - Parameter digest: 32 bytes.
    package init(digest: some Swift.Sequence<UInt8>) { rawValue = CheckedText.plain(Array(digest)) }

    /// What somebody typed or read from a screen, in groups, with check letters; nil if a letter is wrong.
    package init?(typed: String) {
        guard let bytes = CheckedText.bytes(typed: typed) else { return nil }
        self.init(digest: bytes)
    }

    /// Of no certificate.
    package static func random() -> DeviceID {
        var generator = SystemRandomNumberGenerator()
        return DeviceID(digest: (0..<CheckedText.bytes).map { _ in UInt8.random(in: 0...255, using: &generator) })
    }

    /// For people: in groups, with check letters.
    package var grouped: String { CheckedText.grouped(CheckedText.bytes(ofPlain: rawValue) ?? []) }

    package var description: String { rawValue }
}

/// How often the lease of a VM has moved. A commit carries the epoch under which it was made; an old one is refused.
package struct Epoch: Hashable, Comparable, Sendable, Codable, CustomStringConvertible, RawRepresentable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package static func < (left: Epoch, right: Epoch) -> Bool { left.rawValue < right.rawValue }
    package var next: Epoch { Epoch(rawValue: rawValue + 1) }
    /// Devices that hand a VM over to each other without the server count on from the epoch that it knows; who takes the VM
    /// by force gets one that they can't have reached.
    package static let stride: UInt64 = 1 << 16
    /// The first that nobody has reached by counting on.
    package var afterForce: Epoch { Epoch(rawValue: (rawValue / Self.stride + 1) * Self.stride) }
    /// Whether the VM has gone from hand to hand since, and nobody has taken it.
    package func leads(to later: Epoch) -> Bool { self <= later && later < afterForce }
    package var description: String { String(rawValue) }
}

/// The place of a checkpoint in its VM's history: 1 for the first, then one more each time, over all devices.
/// 0 stands for the state before any checkpoint: the base image, shut off.
package struct Sequence: Hashable, Comparable, Sendable, Codable, CustomStringConvertible, RawRepresentable {
    package let rawValue: UInt64
    package init(rawValue: UInt64) { self.rawValue = rawValue }
    package static let base = Sequence(rawValue: 0)
    package static func < (left: Sequence, right: Sequence) -> Bool { left.rawValue < right.rawValue }
    package var next: Sequence { Sequence(rawValue: rawValue + 1) }
    /// The number before; of the base the base.
    package var previous: Sequence { Sequence(rawValue: max(rawValue, 1) - 1) }
    package var description: String { String(rawValue) }
}

/// Random names that are safe in a path, in a URL and in a sentence.
package enum Identifier {
    /// 20 letters of 32: 100 bits, so two never meet by chance.
    package static let length = 20
    /// Crockford's base 32 in lower case: no i, l, o, u to mistake.
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz")

    /// A new identifier from the system's randomness.
    package static func random() -> String {
        var generator = SystemRandomNumberGenerator()
        return String((0..<length).map { _ in alphabet[Int(generator.next() & 31)] })
    }

    package static func isValid(_ text: String) -> Bool {
        text.utf8.count == length && text.allSatisfy(alphabet.contains)
    }
}
