import Foundation

/// What the desktop guest told on its console, line by line.
struct GuestFacts: Sendable {
    private static let mark = "vmsync-desktop: "
    /// A fact is a line; what is longer without an end is no console of ours.
    private static let lineMax = 1 << 20

    private(set) var all: [String] = []
    private let path: String
    private var offset: UInt64
    private var rest = Data()

    /// - Parameter fromNow: leaves out what is in the log already.
    init(path: String, fromNow: Bool) {
        self.path = path
        let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? UInt64) ?? nil
        offset = fromNow ? size ?? 0 : 0
    }

    /// Takes in what was written since the last time.
    mutating func read() throws {
        guard let file = FileHandle(forReadingAtPath: path) else { return }
        defer { try? file.close() }
        try file.seek(toOffset: offset)
        let new = try file.readToEnd() ?? Data()
        offset += UInt64(new.count)
        rest.append(new)
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            note(String(decoding: rest[rest.startIndex..<end], as: UTF8.self))
            rest = Data(rest[(end + 1)...])
        }
        if rest.count > Self.lineMax { rest = Data() }
    }

    private mutating func note(_ line: String) {
        guard let start = line.range(of: Self.mark) else { return }
        all.append(line[start.upperBound...].trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
