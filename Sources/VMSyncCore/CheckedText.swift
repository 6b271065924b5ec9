/// 32 bytes as people read, type and compare them: Crockford's base 32 in lower case, with check letters, in groups.
///
/// 52 letters hold the bytes; after each 13 of them follows a letter that makes the Luhn sum modulo 32 of the 14 zero, as
/// Syncthing has it for its device ids: one wrong letter, or two that changed places, is found.
package enum CheckedText {
    package static let bytes = 32
    /// Letters without check letters: 256 bits in fives.
    package static let letters = 52
    private static let blockLetters = 13
    private static let groupLetters = 7
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz")
    private static let values = Dictionary(uniqueKeysWithValues: alphabet.enumerated().map { ($0.element, $0.offset) })
    /// Letters that people take for another.
    private static let mistaken: [Character: Character] = ["o": "0", "i": "1", "l": "1"]

    /// The 52 letters of 32 bytes.
    package static func plain(_ bytes: some Collection<UInt8>) -> String {
        precondition(bytes.count == Self.bytes, "a checked text stands for \(Self.bytes) bytes")
        var text = ""
        var (bits, count) = (0, 0)
        for byte in bytes {
            bits = bits << 8 | Int(byte)
            count += 8
            while count >= 5 {
                count -= 5
                text.append(alphabet[bits >> count & 31])
            }
            bits &= 1 << count - 1
        }
        text.append(alphabet[bits << (5 - count) & 31])
        return text
    }

    /// The bytes of 52 letters; nil unless `plain` gives just these.
    package static func bytes(ofPlain text: some StringProtocol) -> [UInt8]? {
        guard text.count == letters else { return nil }
        var bytes: [UInt8] = []
        var (bits, count) = (0, 0)
        for letter in text {
            guard let value = values[letter] else { return nil }
            bits = bits << 5 | value
            count += 5
            guard count >= 8 else { continue }
            count -= 8
            bytes.append(UInt8(bits >> count))
            bits &= 1 << count - 1
        }
        // What is left of the last letter says nothing, so it must be zero: one id has one text.
        return bits == 0 && bytes.count == Self.bytes ? bytes : nil
    }

    /// For people: eight groups of seven letters.
    package static func grouped(_ bytes: some Collection<UInt8>) -> String {
        let plain = Array(plain(bytes))
        var all: [Character] = []
        for start in stride(from: 0, to: plain.count, by: blockLetters) {
            let block = plain[start..<start + blockLetters]
            all += block + [checkLetter(of: block)]
        }
        return stride(from: 0, to: all.count, by: groupLetters).map { String(all[$0..<$0 + groupLetters]) }
            .joined(separator: "-")
    }

    /// The bytes of what somebody typed: capitals, missing or other dashes, spaces, and letters that look alike don't
    /// matter.
    /// - Returns: nil if it isn't such a text, or a check letter is wrong.
    package static func bytes(typed: String) -> [UInt8]? {
        let kept = typed.lowercased().filter { !$0.isWhitespace && $0 != "-" }.map { mistaken[$0] ?? $0 }
        guard kept.count == letters + letters / blockLetters else { return nil }
        var plain: [Character] = []
        for start in stride(from: 0, to: kept.count, by: blockLetters + 1) {
            let block = kept[start..<start + blockLetters]
            guard block.allSatisfy({ values[$0] != nil }), checkLetter(of: block) == kept[start + blockLetters] else {
                return nil
            }
            plain += block
        }
        return bytes(ofPlain: String(plain))
    }

    /// Luhn modulo 32: from the right, every second value counts twice, as the sum of its two digits to base 32.
    private static func checkLetter(of block: some BidirectionalCollection<Character>) -> Character {
        var (sum, factor) = (0, 2)
        for letter in block.reversed() {
            let product = factor * (values[letter] ?? 0)
            sum += product / 32 + product % 32
            factor = 3 - factor
        }
        return alphabet[(32 - sum % 32) % 32]
    }
}
