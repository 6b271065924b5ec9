import Foundation
import VMSyncCore

/// What a process holds in memory, as the kernel counts it in /proc/self/smaps.
enum HostMemory {
    /// Proportional set size of this process in bytes, without what it maps of the file at `path`.
    static func ofThisProcess(without path: String) throws(VMSyncError) -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/smaps", encoding: .utf8) else {
            throw .system("read", path: "/proc/self/smaps")
        }
        return bytes(in: text, without: path)
    }

    static func bytes(in smaps: String, without path: String) -> Int {
        var total = 0
        var counts = true
        for line in smaps.split(separator: "\n") {
            if let first = line.first, first.isHexDigit, !line.contains("kB") {
                counts = !line.hasSuffix(" " + path)
            } else if counts, line.hasPrefix("Pss:") {
                total += line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
            }
        }
        return total << 10
    }
}
