import CVMSyncLinux
import VMSyncCheckpoint
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// How the pages that the guest wrote are found.
package enum TrackingMethod: String, Sendable, Codable {
    /// The kernel remembers each write: userfaultfd in QEMU, PAGEMAP_SCAN from here. Under a millisecond for 512 MiB.
    case pagemap
    /// All memory is read and compared with the hashes of the parent: always right, some 70 ms per GiB.
    case compare
}

/// Asks the kernel which pages of a QEMU's RAM were written, through /proc/PID/pagemap.
///
/// Owned by one replica and used from its thread only.
package final class DirtyTracker {
    /// Runs that one call of the kernel returns; a scan takes as many calls as it needs.
    private static let regionsPerCall = 4096

    private let pagemap: Int32
    private let range: Range<UInt64>
    private var regions = [vmsync_page_region](repeating: vmsync_page_region(), count: DirtyTracker.regionsPerCall)

    /// Follows the process `pid`, whose ramwatch gave `report`.
    /// - Throws: `io` with the reason if this kernel can't track, or the real write of the probe isn't seen.
    package init(pid: Int32, report: RamwatchReport) throws(VMSyncError) {
        let path = "/proc/\(pid)/pagemap"
        pagemap = open(path, O_RDONLY | O_CLOEXEC)
        guard pagemap >= 0 else { throw .system("open", path: path) }
        range = report.ram
        // From here on `deinit` closes, also when this throws.
        try checkProbe(report)
    }

    deinit { close(pagemap) }

    /// The probe's two pages were armed, then the second was written: a scan must find that one and no other.
    private func checkProbe(_ report: RamwatchReport) throws(VMSyncError) {
        var written: [Range<Int>] = []
        try scan(report.probe, rearm: false, into: &written)
        guard written == [1..<2] else {
            throw VMSyncError(.io, "the kernel's write tracking missed the probe's write (it reports \(written))")
        }
    }

    /// Forgets what was written so far.
    package func arm() throws(VMSyncError) {
        var ignored: [Range<Int>] = []
        try takeWritten(into: &ignored)
    }

    /// Finds the pages written since they were armed and arms them again, atomically for each page.
    /// - Parameter runs: receives runs of page indices, rising and without overlap.
    package func takeWritten(into runs: inout [Range<Int>]) throws(VMSyncError) {
        runs.removeAll(keepingCapacity: true)
        try scan(range, rearm: true, into: &runs)
    }

    /// Finds the pages written since they were armed, and leaves them as they are: they are found again by the next call,
    /// written or not.
    /// - Parameter runs: as of `takeWritten`.
    package func findWritten(into runs: inout [Range<Int>]) throws(VMSyncError) {
        runs.removeAll(keepingCapacity: true)
        try scan(range, rearm: false, into: &runs)
    }

    private func scan(_ range: Range<UInt64>, rearm: Bool, into runs: inout [Range<Int>]) throws(VMSyncError) {
        var start = range.lowerBound
        while start < range.upperBound {
            var walked: UInt64 = 0
            let found = regions.withUnsafeMutableBufferPointer {
                vmsync_scan_written(
                    pagemap, start, range.upperBound, $0.baseAddress, $0.count, rearm ? 1 : 0, &walked)
            }
            guard found >= 0 else { throw .system("PAGEMAP_SCAN") }
            for region in regions.prefix(found) {
                let first = Int(region.start - range.lowerBound) / Unit.size
                runs.append(first..<Int(region.end - range.lowerBound) / Unit.size)
            }
            // Linux gathers 512 regions at a time, and says where it last stopped for that, though it went on behind it
            // (do_pagemap_scan, 6.18). From there a guest that runs would have pages listed twice.
            if found > 0 { walked = max(walked, regions[found - 1].end) }
            guard walked > start else { throw VMSyncError(.io, "PAGEMAP_SCAN stopped before the end of guest RAM") }
            start = walked
        }
    }
}
