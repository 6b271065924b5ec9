/// Text that reads like text: sentences of a seed, of letters that a keyboard has. No two are alike.
struct Prose {
    private static let beginnings = [
        "the old", "a quiet", "every second", "the last", "one small", "no other", "that northern", "the careful",
        "some",
    ]
    private static let subjects = [
        "harbour", "engine", "letter", "garden", "machine", "river", "teacher", "winter", "window", "market", "signal",
        "captain", "library", "bridge", "morning", "journal",
    ]
    private static let verbs = [
        "carries", "remembers", "follows", "moves", "answers", "keeps", "finds", "repairs", "opens", "measures",
        "crosses",
    ]
    private static let ends = [
        "before noon", "without a sound", "for the third time", "across the water", "with great patience",
        "in the rain",
        "as it always did", "and nobody noticed", "between two towns", "until the lamps were lit", "for a small price",
    ]

    var random: SessionRandom

    mutating func sentence() -> String {
        func pick(_ words: [String]) -> String { words[random.number(0...words.count - 1)] }
        let text =
            "\(pick(Self.beginnings)) \(pick(Self.subjects)) \(pick(Self.verbs)) the \(pick(Self.subjects)) "
            + "of \(random.number(2...999)) \(pick(Self.subjects))s \(pick(Self.ends))"
        return text.prefix(1).uppercased() + text.dropFirst() + "."
    }

    mutating func paragraph(sentences: ClosedRange<Int>) -> String {
        (0..<random.number(sentences)).map { _ in sentence() }.joined(separator: " ")
    }
}
