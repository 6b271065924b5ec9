import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// What the guest has written since the last sealed checkpoint.
package struct WrittenLook: Sendable, Hashable {
    /// Pages that were written, whatever stands in them now.
    package var pages: Int
    package var blocks: Int
    /// About how many bytes they would take in a pack.
    package var bytes: Double

    /// Whether there is anything to send.
    package var hasChanged: Bool { bytes > 0 }
}

extension Replica {
    /// Pages that are looked at: enough for a mean, few enough to do it several times a second.
    private static let lookedAt = 64
    /// What a block of a disk may take: half of it. `UnsentModel` corrects it by what packs come to.
    private static let bytesPerBlock = Double(Unit.size / 2)

    /// Looks at a sample of what the guest has written since the last sealed checkpoint, while it runs. Nothing is armed:
    /// the next checkpoint finds all of it again.
    package func look(_ tracker: DirtyTracker) throws(VMSyncError) -> WrittenLook {
        var runs: [Range<Int>] = []
        try tracker.findWritten(into: &runs)
        let count = runs.reduce(0) { $0 + $1.count }
        let blocks = disks.reduce(0) { $0 + $1.overlay.dirtyCount }
        let sample = Self.sample(of: runs, count)
        var buffer = [UInt8](repeating: 0, count: Unit.size)
        var sum = 0.0
        for index in sample { sum += try guess(index, &buffer) }
        let mean = sample.isEmpty ? 0 : sum / Double(sample.count)
        return WrittenLook(
            pages: count, blocks: blocks, bytes: mean * Double(count) + Double(blocks) * Self.bytesPerBlock)
    }

    /// Pages evenly spread over the runs; all of them if there are few.
    private static func sample(of runs: [Range<Int>], _ count: Int) -> [Int] {
        let stride = max(1, Double(count) / Double(lookedAt))
        var sample: [Int] = []
        var (before, wanted) = (0, 0.0)
        for run in runs {
            while Int(wanted) < before + run.count {
                sample.append(run.lowerBound + Int(wanted) - before)
                wanted += stride
            }
            before += run.count
        }
        return sample
    }

    /// The guest may write the page meanwhile: then the guess is of a page that never was, which is as good.
    private func guess(_ index: Int, _ buffer: inout [UInt8]) throws(VMSyncError) -> Double {
        try buffer.withMutableRawBytes { page throws(VMSyncError) in try memory.read(index..<index + 1, into: page) }
        return buffer.withRawBytes { page in
            pages[index] == UnitHash.page(page) ? 0 : workspace.guess(page, parent: parents.page(index))
        }
    }
}
