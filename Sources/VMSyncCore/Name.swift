/// What a person calls a VM or a device. Checked once, where it enters.
package enum Name {
    /// Long enough for "laptop-of-marguerite", short enough for a table.
    package static let lengthMax = 40

    /// `text` if it can be a name: 1 to 40 of the letters a–z, digits, `-`, `_` and `.`, beginning with a letter or digit.
    /// - Throws: `invalidInput` saying what is wrong.
    package static func checked(_ text: String, of what: String) throws(VMSyncError) -> String {
        let letters = text.utf8
        let isPlain = letters.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                true
            default: false
            }
        }
        let first = letters.first
        guard isPlain, let first, letters.count <= lengthMax, first != UInt8(ascii: "-"), first != UInt8(ascii: "_"),
            first != UInt8(ascii: ".")
        else {
            throw VMSyncError(
                .invalidInput,
                "\"\(text)\" can't be the name of a \(what): use 1 to \(lengthMax) letters, digits, '-', '_' or '.', beginning with a letter or digit"
            )
        }
        return text
    }
}
