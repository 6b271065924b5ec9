import Foundation

/// What the small guest says on its console (guests/small/README.md): a counter, a nonce that exists only in its memory,
/// and the last counter that it wrote to its disk with fsync.
package struct Witness: Sendable, Equatable {
    /// Numbers that are missing or came twice.
    package private(set) var gaps = 0
    package private(set) var nonces: Set<String> = []
    /// The counter that was seen first.
    package private(set) var first: Int?
    /// The highest counter seen.
    package private(set) var count = 0
    /// The counters that the guest was told were on its disk.
    package private(set) var synced: Set<Int> = []

    /// Reads the console's bytes, of all devices in the order in which the guest ran there: a line may begin on one device
    /// and end on another.
    package init(console: Data) {
        // Firmware and kernel write before the witness does, and not always whole lines.
        for line in console.split(separator: UInt8(ascii: "\n")) {
            let text = String(decoding: line, as: UTF8.self)
            guard let start = text.range(of: "vmsync-witness n=") else { continue }
            note(text[start.upperBound...])
        }
    }

    private mutating func note(_ text: Substring) {
        let words = text.trimmingCharacters(in: .whitespacesAndNewlines).split(separator: " ")
        guard words.count == 3, let number = Int(words[0]), words[1].hasPrefix("nonce="), words[1].count == 38,
            words[2].hasPrefix("synced="), let last = Int(words[2].dropFirst(7))
        else {
            gaps += 1
            return
        }
        first = first ?? number
        gaps += abs(number - count - 1)
        count = max(count, number)
        if last > 0 { synced.insert(last) }
        nonces.insert(String(words[1].dropFirst(6)))
    }
}

/// Gathers the console of one guest over all devices that it runs on.
package struct ConsoleTape: Sendable {
    private var read: [String: UInt64] = [:]
    package private(set) var bytes = Data()

    package init() {}

    /// Takes what was written to the log at `path` since the last time. To be called for a device when its guest has
    /// stopped there, before the next device's.
    package mutating func append(_ path: String) throws {
        guard let file = FileHandle(forReadingAtPath: path) else { return }
        defer { try? file.close() }
        try file.seek(toOffset: read[path] ?? 0)
        let new = try file.readToEnd() ?? Data()
        read[path, default: 0] += UInt64(new.count)
        bytes.append(new)
    }

    /// A tape that goes on where this one ends, and has forgotten what is on it.
    package func cut() -> ConsoleTape {
        var rest = self
        rest.bytes = Data()
        return rest
    }

    package var witness: Witness {
        // A line that isn't complete yet says nothing.
        guard let end = bytes.lastIndex(of: UInt8(ascii: "\n")) else { return Witness(console: Data()) }
        return Witness(console: bytes[...end])
    }
}
