import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// What is new in a paused guest, taken out of it so that it may run again.
package struct Capture {
    /// How the pages were found.
    package let method: TrackingMethod
    /// The pages that were taken out, as rising runs.
    package let runs: [Range<Int>]
    /// Whether the guest may run before this is sealed: the pages are copied. More than the buffer holds is not.
    package let mayRun: Bool
    package let scan: Duration
    package let copy: Duration
    /// The disks at that moment, in order.
    package let frozen: [FrozenDisk]

    /// How many pages were taken out.
    package var pages: Int { runs.reduce(0) { $0 + $1.count } }

    /// Ends the point in time of the disks, for a capture that is not sealed; `seal` does it by itself.
    package func release() { for disk in frozen { disk.release() } }
}

extension Replica {
    /// What can be done while the guest still runs, so that the pause is free of it.
    package func prepareCapture() throws(VMSyncError) {
        // Only after a seal that failed behind its decisive moment is there anything to finish.
        try finishSealing()
        captured.prepare()
        appliedState = nil
        // QEMU flushes the disks in the pause, and then finds little to flush, or nothing.
        for disk in disks { try disk.overlay.flush() }
    }

    /// Takes the pages written since the last sealed checkpoint out of the guest while it still runs, so that few are left
    /// for the pause. The tracker is armed before a page is copied: one that is written meanwhile or later is found, and
    /// taken anew, in the pause.
    /// - Returns: their runs, for `capture`.
    func captureEarly(_ tracker: DirtyTracker) throws(VMSyncError) -> [Range<Int>] {
        var runs: [Range<Int>] = []
        try tracker.takeWritten(into: &runs)
        try captured.capture(runs)
        return runs
    }

    /// Takes the pages written since the last sealed checkpoint out of the paused guest, and freezes the disks.
    ///
    /// This is inside the pause: it does nothing that can wait. So it doesn't arm the tracker. A page that the guest wrote
    /// just before the pause it writes soon again: it counts as written until the next `captureEarly`, and costs the guest
    /// one fault a checkpoint and not two. Of a program that writes 16 MiB all the time those were 8,400 a checkpoint, and
    /// are 4,400. One that wasn't written again is found to be unchanged when it is sealed.
    /// - Parameters:
    ///   - tracker: armed since the last *sealed* checkpoint, or before `found` was looked for; nil without support by the
    ///     kernel. All memory is compared then.
    ///   - found: runs of pages that differed from the last sealed checkpoint at some time since the tracker was armed,
    ///     where it was armed later than at that checkpoint.
    ///   - early: what `captureEarly` has taken out with the same tracker.
    package func capture(
        tracker: DirtyTracker?, found: [Range<Int>] = [], early: [Range<Int>] = []
    ) throws(VMSyncError) -> Capture {
        let clock = ContinuousClock()
        let start = clock.now
        try finishSealing()
        var runs: [Range<Int>] = []
        let method = try findWritten(tracker, into: &runs)
        let late = Self.union(runs, found)
        runs = Self.union(late, early)
        let scanned = clock.now
        if !early.isEmpty, captured.isCopied { try captured.recapture(late) } else { try captured.capture(runs) }
        let frozen = try freezeDisks()
        return Capture(
            method: method, runs: runs, mayRun: captured.isCopied, scan: scanned - start, copy: clock.now - scanned,
            frozen: frozen)
    }

    /// The disks alone, of a VM that is shut down.
    package func captureDisks() throws(VMSyncError) -> Capture {
        try finishSealing()
        captured.forget()
        return Capture(
            method: .pagemap, runs: [], mayRun: true, scan: .zero, copy: .zero, frozen: try freezeDisks())
    }

    /// Rising runs without overlap that hold what either of two such lists holds.
    static func union(_ first: [Range<Int>], _ second: [Range<Int>]) -> [Range<Int>] {
        guard !first.isEmpty, !second.isEmpty else { return first.isEmpty ? second : first }
        var joined: [Range<Int>] = []
        for run in (first + second).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = joined.last, run.lowerBound <= last.upperBound {
                joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, run.upperBound)
            } else {
                joined.append(run)
            }
        }
        return joined
    }

    private func freezeDisks() throws(VMSyncError) -> [FrozenDisk] {
        var frozen: [FrozenDisk] = []
        do throws(VMSyncError) {
            for disk in disks { frozen.append(try disk.overlay.freeze()) }
        } catch {
            for disk in frozen { disk.release() }
            throw error
        }
        return frozen
    }

    private func findWritten(
        _ tracker: DirtyTracker?, into runs: inout [Range<Int>]
    ) throws(VMSyncError) -> TrackingMethod {
        if let tracker {
            try tracker.findWritten(into: &runs)
            return .pagemap
        }
        runs = try changedPages()
        return .compare
    }

    /// Compares all memory with the hashes of the parent: the fallback, and in tests the oracle beside the tracker. Of a
    /// running guest it finds each page that differed during all of the call.
    /// - Returns: runs of the pages that differ, rising.
    package func changedPages() throws(VMSyncError) -> [Range<Int>] {
        var runs = RunCollector()
        var next = 0
        // Holes are zero.
        for populated in memory.populatedRuns() {
            for index in next..<populated.lowerBound where pages[index] != .zero { runs.add(index) }
            try memory.forEach(populated) { index, page in
                if pages[index] != UnitHash.page(page) { runs.add(index) }
            }
            next = populated.upperBound
        }
        for index in next..<memory.units where pages[index] != .zero { runs.add(index) }
        return runs.runs
    }

    /// The digest of what memory, disks and device state really hold, read anew from the first to the last byte. The
    /// guest must not run.
    package func recomputedDigest() throws(VMSyncError) -> StateDigest {
        var memorySum: UInt128 = 0
        for run in memory.populatedRuns() {
            try memory.forEach(run) { index, page in
                memorySum &+= UnitHash.placed(UnitHash.page(page), at: index).value
            }
        }
        var diskSums: [Hash128] = []
        for disk in disks { diskSums.append(try Self.recomputedSum(of: disk.overlay)) }
        let state = try deviceState()
        return StateDigest(
            memory: Hash128(value: memorySum), disks: diskSums,
            deviceState: record.kind == .live ? state.withRawBytes { Hash128(of: $0) } : .zero)
    }

    private static func recomputedSum(of disk: OverlayDisk) throws(VMSyncError) -> Hash128 {
        var sum: UInt128 = 0
        var failure: VMSyncError?
        var block = [UInt8](repeating: 0, count: Unit.size)
        disk.forEachPresentBlock { index, _ in
            guard failure == nil else { return }
            do throws(VMSyncError) {
                try block.withMutableRawBytes { bytes throws(VMSyncError) in try disk.readBlock(index, into: bytes) }
                let content = block.withRawBytes { UnitHash.block($0) }
                sum &+= UnitHash.placed(content, at: Int(index)).value
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return Hash128(value: sum)
    }
}

/// Joins rising indices to runs.
struct RunCollector {
    private(set) var runs: [Range<Int>] = []

    mutating func add(_ index: Int) {
        if let last = runs.last, last.upperBound == index {
            runs[runs.count - 1] = last.lowerBound..<index + 1
        } else {
            runs.append(index..<index + 1)
        }
    }
}
