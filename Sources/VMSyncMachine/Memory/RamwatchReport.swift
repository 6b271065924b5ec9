import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// What the library inside QEMU says of itself (see Sources/ramwatch/ramwatch.c).
package struct RamwatchReport: Equatable, Sendable {
    /// Addresses of guest RAM in QEMU.
    package let ram: Range<UInt64>
    /// Addresses of the probe's two pages.
    package let probe: Range<UInt64>

    /// Reads "watching START LENGTH PROBE PAGE_SIZE".
    /// - Throws: `io` with the reason that the library gave, or if it wasn't loaded.
    package init(file path: String, memory: UInt64) throws(VMSyncError) {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw VMSyncError(.io, "libramwatch.so wasn't loaded into QEMU")
        }
        try self.init(text: text, memory: memory)
    }

    package init(text: String, memory: UInt64) throws(VMSyncError) {
        let words = text.split(whereSeparator: \.isWhitespace)
        if words.first == "failed", words.count == 3 {
            let reason = Int32(words[2]).map { String(cString: strerror($0)) } ?? "unknown reason"
            throw VMSyncError(
                .io, "this kernel can't track writes (\(words[1].prefix(100)): \(reason); Linux 6.7 or newer can)")
        }
        let numbers = words.dropFirst().compactMap { UInt64($0) }
        guard words.first == "watching", words.count == 5, numbers.count == 4, numbers[1] == memory,
            numbers[3] == UInt64(Unit.size),
            !numbers[0].addingReportingOverflow(memory).overflow,
            !numbers[2].addingReportingOverflow(2 * UInt64(Unit.size)).overflow
        else { throw VMSyncError(.corrupt, "libramwatch.so reports \"\(text.prefix(100))\"") }
        ram = numbers[0]..<numbers[0] + memory
        probe = numbers[2]..<numbers[2] + 2 * UInt64(Unit.size)
    }
}
