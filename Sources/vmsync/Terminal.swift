#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCore

/// A person at a terminal.
enum Terminal {
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
