/// The numbers that X gives to keys ("X Window System Protocol", appendix A).
package enum Keysym {
    package static let backspace: UInt32 = 0xFF08
    package static let tab: UInt32 = 0xFF09
    package static let enter: UInt32 = 0xFF0D
    package static let escape: UInt32 = 0xFF1B
    package static let home: UInt32 = 0xFF50
    package static let left: UInt32 = 0xFF51
    package static let up: UInt32 = 0xFF52
    package static let right: UInt32 = 0xFF53
    package static let down: UInt32 = 0xFF54
    package static let pageUp: UInt32 = 0xFF55
    package static let pageDown: UInt32 = 0xFF56
    package static let end: UInt32 = 0xFF57
    package static let shift: UInt32 = 0xFFE1
    package static let control: UInt32 = 0xFFE3
    package static let alt: UInt32 = 0xFFE9
    package static let delete: UInt32 = 0xFFFF

    /// F1 to F12.
    package static func function(_ number: Int) -> UInt32 { 0xFFBD + UInt32(number) }

    /// The key that a letter is on, on a keyboard of the United States, and whether shift is held for it; nil for what
    /// that keyboard hasn't. A line end is the enter key.
    package static func typing(_ letter: Character) -> (keysym: UInt32, shifted: Bool)? {
        if letter == "\n" { return (enter, false) }
        if letter == "\t" { return (tab, false) }
        guard let code = letter.asciiValue, (0x20...0x7E).contains(code) else { return nil }
        return (UInt32(code), letter.isUppercase || "~!@#$%^&*()_+{}|:\"<>?".contains(letter))
    }
}
