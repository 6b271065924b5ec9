import Foundation
import VMSyncCore

/// What the witness in the small guest wrote to the console so far (guests/small/README.md).
package struct WitnessLog: Sendable {
    package struct Line: Sendable, Hashable {
        package let counter: UInt64
        package let nonce: String
        /// The last counter that the guest knows to be on its disk.
        package let synced: UInt64
    }

    package let lines: [Line]
    /// Everything else that the guest said.
    package let others: [String]

    /// Lines of several logs, one after the other.
    package init(lines: [Line]) {
        self.lines = lines
        others = []
    }

    /// The last line counts only if it is whole.
    package init(text: String) {
        var lines: [Line] = []
        var others: [String] = []
        // A terminal ends lines by "\r\n", which is one character of Swift.
        for line in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).dropLast() {
            let text = String(line)
            if let line = Line(text) { lines.append(line) } else if !text.isEmpty { others.append(text) }
        }
        self.lines = lines
        self.others = others
    }

    package static func read(_ path: String) -> WitnessLog {
        let data = FileManager.default.contents(atPath: path) ?? Data()
        return WitnessLog(text: String(decoding: data, as: UTF8.self))
    }

    /// Whether the counters of these lines are one after the other.
    package var isGapless: Bool {
        zip(lines, lines.dropFirst()).allSatisfy { $1.counter == $0.counter + 1 }
    }

    /// Returns when the guest has counted to `counter`.
    /// - Throws: `timeout` with what it said last.
    package static func wait(
        _ path: String, counter: UInt64, limit: Duration = .seconds(60)
    ) async throws -> WitnessLog {
        let deadline = ContinuousClock.now + limit
        while true {
            let log = read(path)
            if let last = log.lines.last, last.counter >= counter { return log }
            guard ContinuousClock.now < deadline else {
                throw VMSyncError(
                    .timeout, "the guest did not count to \(counter): \(log.lines.suffix(1)) \(log.others.suffix(5))")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }
}

extension WitnessLog.Line {
    /// "vmsync-witness n=42 nonce=0612215b0a581c8e21145267688f6d3a synced=40"
    fileprivate init?(_ text: String) {
        let words = text.split(separator: " ")
        guard words.count == 4, words[0] == "vmsync-witness", let counter = Self.value("n", words[1]),
            let nonce = Self.value("nonce", words[2]), let synced = Self.value("synced", words[3]),
            let counter = UInt64(counter), let synced = UInt64(synced)
        else { return nil }
        self.init(counter: counter, nonce: String(nonce), synced: synced)
    }

    private static func value(_ name: String, _ word: Substring) -> Substring? {
        word.hasPrefix(name + "=") ? word.dropFirst(name.count + 1) : nil
    }
}
