import Foundation
import Synchronization
import VMSyncAPI
import VMSyncCore
import VMSyncPolicy

/// What goes to the terminal: data on stdout, progress and errors on stderr.
enum Output {
    static func line(_ text: String) {
        print(text)
        fflush(nil)
    }

    static func json(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        line(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    /// Prints an error as a person or a program reads it, and ends the process with the code of its kind.
    static func fail(_ error: VMSyncError, json: Bool) -> Never {
        ProgressLine.shared.end()
        if json {
            // Nothing better can be done with an error about printing an error.
            try? self.json(["error": Reason(error)])
        } else {
            FileHandle.standardError.write(Data("vmsync: \(error)\n".utf8))
        }
        exit(exitCode(of: error.code))
    }

    /// Unknown codes, of newer daemons, are plain failures.
    static func exitCode(of code: VMSyncError.Code) -> Int32 {
        switch code {
        case .invalidInput: 2
        case .notFound: 10
        case .leaseHeld: 11
        case .unauthorized: 12
        case .cancelled: 130
        default: 1
        }
    }

    static func table(_ header: [String], _ rows: [[String]]) { for text in lines(header, rows) { line(text) } }

    /// Columns as wide as their widest cell, the header first.
    static func lines(_ header: [String], _ rows: [[String]]) -> [String] {
        let all = [header] + rows
        let widths = header.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = zip(row, widths).map { $0.padding(toLength: $1, withPad: " ", startingAt: 0) }
            return cells.joined(separator: "  ").trimmingCharacters(in: .whitespaces)
        }
    }

    /// By this machine's calendar.
    static func time(_ time: Timestamp) -> String {
        let formatter = DateFormatter()
        formatter.dateFormat = "yyyy-MM-dd HH:mm:ss"
        return formatter.string(from: Date(timeIntervalSince1970: Double(time.rawValue) / 1000))
    }

    /// "fetching 12 packs: 40 % (2.0 MiB of 5.0 MiB, 400 KiB/s, 7.5 s left)".
    static func text(_ step: StepProgress) -> String {
        guard step.total > 0 else { return "\(step.step) …" }
        let percent = min(100, step.done * 100 / step.total)
        var text = "\(step.step): \(percent) % (\(ByteCount(step.done)) of \(ByteCount(step.total))"
        if let rate = step.bytesPerSecond { text += ", \(ByteCount(UInt64(max(0, rate))))/s" }
        if let left = step.secondsLeft, left >= 1 { text += ", \(age(left)) left" }
        return text + ")"
    }

    /// "1.2 s", "3 min", "2 h".
    static func age(_ seconds: Double) -> String {
        switch seconds {
        case ..<60: String(format: "%.1f s", seconds)
        case ..<3600: "\(Int(seconds / 60)) min"
        default: "\(Int(seconds / 3600)) h"
        }
    }
}

/// The one line on a terminal that says how far a step is; a line a minute where there is no terminal.
final class ProgressLine: Sendable {
    static let shared = ProgressLine()

    private struct State {
        var isOpen = false
        var lastStep = ""
        var lastShown: ContinuousClock.Instant?
    }
    private let state = Mutex(State())
    private let isTerminal = isatty(STDERR_FILENO) == 1

    func show(_ step: StepProgress) {
        let isNew: Bool = state.withLock { state in
            let now = ContinuousClock.now
            let isDue = state.lastShown.map { now - $0 > .seconds(60) } ?? true
            guard isTerminal || step.step != state.lastStep || isDue else { return false }
            state.lastStep = step.step
            state.lastShown = now
            state.isOpen = isTerminal
            return true
        }
        guard isNew else { return }
        write(isTerminal ? "\r\u{1B}[K\(Output.text(step))" : "\(Output.text(step))\n")
    }

    /// Leaves the terminal on a fresh line.
    func end() {
        let wasOpen = state.withLock { state in
            defer { state.isOpen = false }
            return state.isOpen
        }
        if wasOpen { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
