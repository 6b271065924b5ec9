import Testing
import VMSyncCore

@Suite("Ids and keys as people read them") struct CheckedTextTests {
    private let bytes = (UInt8(0)..<32).map { $0 }

    @Test("32 bytes have one text, which another implementation gives too") func example() {
        #expect(CheckedText.plain(bytes) == "000g40r40m30e209185gr38e1w8124gk2gahc5rr34d1p70x3rfg")
        #expect(CheckedText.grouped(bytes) == "000g40r-40m30ex-209185g-r38e1wq-8124gk2-gahc5rc-r34d1p7-0x3rfgj")
    }

    @Test("what is typed back is the same, however it is written") func typed() {
        let text = CheckedText.grouped(bytes)
        for variant in [
            text, text.uppercased(), text.filter { $0 != "-" }, " " + text.replacingOccurrences(of: "-", with: " "),
            text.replacingOccurrences(of: "0", with: "O").replacingOccurrences(of: "1", with: "l"),
        ] {
            #expect(CheckedText.bytes(typed: variant) == bytes)
        }
        #expect(CheckedText.bytes(ofPlain: CheckedText.plain(bytes)) == bytes)
    }

    @Test("any wrong letter is found, and any two neighbours that changed places") func mistakes() {
        let text = Array(CheckedText.grouped(bytes).filter { $0 != "-" })
        let alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
        for index in text.indices {
            for letter in alphabet where letter != text[index] {
                var wrong = text
                wrong[index] = letter
                #expect(CheckedText.bytes(typed: String(wrong)) == nil)
            }
            // Luhn's sum can't tell 0 and the highest letter apart; no neighbours here are these two.
            guard index + 1 < text.count, text[index] != text[index + 1] else { continue }
            var swapped = text
            swapped.swapAt(index, index + 1)
            #expect(CheckedText.bytes(typed: String(swapped)) == nil)
        }
    }

    @Test("other texts are none", arguments: ["", "000g40r", "u", String(repeating: "0", count: 55), "äöü"])
    func nonsense(_ text: String) {
        #expect(CheckedText.bytes(typed: text) == nil)
        #expect(CheckedText.bytes(ofPlain: text) == nil)
    }

    @Test("a text whose last letter says too much is no second name of the same bytes") func oneName() {
        let plain = CheckedText.plain(bytes)
        #expect(CheckedText.bytes(ofPlain: plain.dropLast() + "h") == nil)
    }
}
