/// What one kind of session does, as a function of its seed: no clock, no desktop.
protocol SessionScript: Sendable {
    /// Brings the desktop to where the session begins: programs are open, files are there.
    var preparation: [Step] { get }
    /// What is done in the measured time, round after round.
    func round(_ number: Int) -> [Step]
    /// Whether a round is played to its end, however long it takes, and only one is: for work that has an end.
    var isOneTask: Bool { get }
    /// Lets the guest tell what has become of it; not measured.
    var inspection: [Step] { get }
    /// What shows that the session did not happen; empty if it did.
    func problems(_ evidence: SessionEvidence) -> [String]
}

extension SessionScript {
    var isOneTask: Bool { false }
}

/// What a session left behind, for its script to judge.
package struct SessionEvidence: Sendable {
    /// What the guest told since the preparation began.
    package var facts: [String] = []
    /// How much of `facts` was told before the measured time.
    package var factsBefore = 0
    /// The measured time.
    package var ran = Duration.zero
    /// Rounds that were begun.
    package var rounds = 0
    /// What the page server gave in the measured time.
    package var served = PageServer.Counts()
    /// All that was typed at a person's pace in the measured time.
    package var typed = ""
    /// Pixels that differ between the screens before the measured time and after the inspection.
    package var pixelsChanged = 0
    /// Colours of the screen after the inspection.
    package var colours = 0

    package init() {}

    /// The words after `fact NAME`, of the last such fact; `nth` counts from the end.
    func fact(_ name: String, fromEnd nth: Int = 0) -> [String]? {
        let found = facts.filter { $0 == "fact \(name)" || $0.hasPrefix("fact \(name) ") }
        guard nth < found.count else { return nil }
        return found[found.count - 1 - nth].split(separator: " ").dropFirst(2).map(String.init)
    }

    func number(_ name: String, fromEnd nth: Int = 0) -> Double? {
        fact(name, fromEnd: nth)?.first.flatMap(Double.init)
    }

    /// Facts of the measured time that hold `text`.
    func told(_ text: String) -> Int { facts.dropFirst(factsBefore).count { $0.contains(text) } }
}

/// Whether a session really happened.
package struct SessionVerdict: Sendable, Hashable, Codable {
    package var session: String
    package var seed: UInt64
    /// In words; empty if it happened.
    package var problems: [String]
    /// What was seen, for the record: "pages" → "7".
    package var observations: [String: String]

    package var happened: Bool { problems.isEmpty }
}
