#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCore

/// A person at a terminal.
enum Terminal {
    /// Whether somebody looks at what is printed.
    static var isOutput: Bool { isatty(STDOUT_FILENO) == 1 }

    /// Half of a terminal of 80 columns.
    private static let pictureColumns = 40
    private static let pictureRows = 20

    /// Draws a picture: in each place two pixels, one above the other.
    static func draw(_ picture: Picture) {
        let small = picture.fitted(width: pictureColumns, height: pictureRows * 2)
        func color(_ row: Int, _ column: Int) -> String {
            let place = (row * small.width + column) * 3
            return small.pixels[place..<place + 3].map(String.init).joined(separator: ";")
        }
        for row in stride(from: 0, to: small.height, by: 2) {
            var line = "  "
            for column in 0..<small.width {
                line += "\u{1B}[38;2;\(color(row, column))m"
                if row + 1 < small.height { line += "\u{1B}[48;2;\(color(row + 1, column))m" }
                line += "▀"
            }
            Output.line(line + "\u{1B}[0m")
        }
    }

    /// Asks before something that can't be taken back. Where nobody can be asked, it isn't done.
    /// - Throws: `cancelled` unless the answer is yes.
    static func confirm(_ question: String) throws(VMSyncError) {
        guard isatty(STDIN_FILENO) == 1 else {
            throw VMSyncError(.cancelled, "not done, for nobody can be asked: \(question)", hint: "say --yes")
        }
        FileHandle.standardError.write(Data("\(question) [y/N] ".utf8))
        guard ["y", "yes"].contains(readLine()?.lowercased() ?? "") else { throw VMSyncError(.cancelled, "not done") }
    }
}
