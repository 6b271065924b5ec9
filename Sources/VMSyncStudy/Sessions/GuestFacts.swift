import Foundation

/// What the desktop guest told on its console, line by line.
package struct GuestFacts: Sendable {
    private static let mark = "vmsync-desktop: "
    /// A fact is a line; what is longer without an end is no console of ours.
    private static let lineMax = 1 << 20

    package private(set) var all: [String] = []
    private let path: String
    private var offset: UInt64
    private var rest = Data()

    /// - Parameter earlier: leaves out what is in the log already, but for the lines within so many bytes.
    package init(path: String, earlier: UInt64) {
        self.path = path
        let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? UInt64) ?? nil
        offset = size.map { $0 - min(earlier, $0) } ?? 0
    }

    /// Takes in what was written since the last time.
    package mutating func read() throws {
        guard let file = FileHandle(forReadingAtPath: path) else { return }
        defer { try? file.close() }
        try file.seek(toOffset: offset)
        let new = try file.readToEnd() ?? Data()
        offset += UInt64(new.count)
        rest.append(new)
        let lines = rest.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for line in lines.dropLast() { note(String(decoding: line, as: UTF8.self)) }
        rest = lines.last.map { Data($0) } ?? Data()
        if rest.count > Self.lineMax { rest = Data() }
    }

    private mutating func note(_ line: String) {
        guard let start = line.range(of: Self.mark) else { return }
        all.append(line[start.upperBound...].trimmingCharacters(in: .whitespacesAndNewlines))
    }
}
