import Foundation
import VMSyncCore

/// What a process holds in memory, as the kernel counts it in /proc/self/smaps.
package enum HostMemory {
    /// Proportional set size of this process in bytes, without what it maps of the file at `path`.
    package static func ofThisProcess(without path: String) throws(VMSyncError) -> Int {
        bytes(in: try mapsOfThisProcess(), without: path)
    }

    /// What the kernel says of each mapping. (proc(5), "/proc/pid/smaps")
    package static func mapsOfThisProcess() throws(VMSyncError) -> String {
        // Read to its end: Foundation takes a file of /proc, whose length is said to be 0, for one of a few KB.
        guard let file = FileHandle(forReadingAtPath: "/proc/self/smaps"), let data = try? file.readToEnd() else {
            throw .system("read", path: "/proc/self/smaps")
        }
        return String(decoding: data, as: UTF8.self)
    }

    package static func bytes(in smaps: String, without path: String) -> Int {
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
