import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica

/// What one checkpoint costs by the four policies of the VMsync paper (HotMobile'13, section 4), and by zstd of what was
/// written, in bytes: memory, screen and disk.
package struct PolicyBytes: Sendable, Codable, Hashable {
    /// Pages, screen pages and blocks that were written since the checkpoint before, whole.
    package var dirty_since_previous = 0
    /// Their bytes that differ.
    package var changed_since_previous = 0
    package var dirty_since_start = 0
    package var changed_since_start = 0
    /// `dirty_since_previous` as one zstd frame of level 3.
    package var zstd = 0

    static func + (left: PolicyBytes, right: PolicyBytes) -> PolicyBytes {
        PolicyBytes(
            dirty_since_previous: left.dirty_since_previous + right.dirty_since_previous,
            changed_since_previous: left.changed_since_previous + right.changed_since_previous,
            dirty_since_start: left.dirty_since_start + right.dirty_since_start,
            changed_since_start: left.changed_since_start + right.changed_since_start, zstd: left.zstd + right.zstd)
    }
}

/// Counts what the same checkpoints would cost by other means, from the same captures, and keeps some for a closer look.
///
/// @unchecked Sendable: one task makes it and asks it, and gives it to the one `BenchMachine` in between; never two at a
/// time.
final class SessionAccount: @unchecked Sendable {
    private(set) var policies: [PolicyBytes] = []
    private(set) var samples: [SessionSample] = []
    /// Whether the pages of memory themselves are kept, each as often as it is written.
    var keepsPages = false
    private(set) var pages = WrittenPages()

    private let folder: String
    private let copy: StateCopy
    private let compressor = ZstdCompressor(level: 3)
    /// What units were when the session began, of those that were written since, and how many of their bytes differ now.
    private var originals: [CountedUnit: [UInt8]] = [:]
    private var differences: [CountedUnit: Int] = [:]
    private var changedSinceStart = 0
    /// The checkpoints to keep, counted from the start of the session, and of which one memory is kept too.
    private var sampled: Set<Int> = []
    private var imaged: Int?

    /// - Parameter folder: on a tmpfs, with room for three times the guest's memory.
    init(folder: String, memory: UInt64) throws(VMSyncError) {
        self.folder = folder
        copy = try StateCopy(path: folder + "/before", size: memory)
    }

    /// From here on a session is counted.
    /// - Parameters:
    ///   - sampled: the checkpoints to keep, counted from 0.
    ///   - imaged: the one of them whose memory is kept before and after.
    func begin(sampled: Set<Int>, imaged: Int?) {
        policies = []
        samples = []
        originals = [:]
        differences = [:]
        changedSinceStart = 0
        self.sampled = sampled
        self.imaged = imaged
    }

    /// Takes in a capture before it is sealed.
    func take(_ live: LiveCapture, of replica: Replica) throws(VMSyncError) {
        if policies.count == imaged { try keepMemory(as: "old") }
        var bytes = PolicyBytes()
        var written: [UInt8] = []
        try copy.take(live, of: replica) { unit, new, old in
            written.append(contentsOf: new)
            if keepsPages, case .memory(let index) = unit { pages.add(index, new, old: old) }
            bytes.changed_since_previous += new.bytesDifferent(from: old)
            let original = originals[unit] ?? Array(old)
            originals[unit] = original
            let different = original.withRawBytes { new.bytesDifferent(from: $0) }
            changedSinceStart += different - (differences.updateValue(different, forKey: unit) ?? 0)
        }
        bytes.dirty_since_previous = written.count
        bytes.dirty_since_start = originals.count * Unit.size
        bytes.changed_since_start = changedSinceStart
        var frame: [UInt8] = []
        bytes.zstd = try written.withRawBytes { written throws(VMSyncError) in
            try compressor.append(written, to: &frame)
        }
        if policies.count == imaged { try keepMemory(as: "new") }
        policies.append(bytes)
    }

    /// Takes in the pack of the capture before.
    func take(_ sealed: SealedCheckpoint, _ tally: PackTally) throws(VMSyncError) {
        let number = policies.count - 1
        guard sampled.contains(number) else { return }
        let path = "\(folder)/sample-\(number)"
        do { try FileManager.default.copyItem(atPath: sealed.packPath, toPath: path) } catch {
            throw VMSyncError(.io, "a pack can't be copied to \(path): \(error)")
        }
        samples.append(
            SessionSample(
                number: number, pack: path, packBytes: sealed.packBytes, tally: tally,
                memory: number == imaged ? (folder + "/old", folder + "/new") : nil))
    }

    private func keepMemory(as name: String) throws(VMSyncError) {
        let target = try GuestMemory(path: "\(folder)/\(name)", size: UInt64(copy.memory.size))
        try target.clear()
        for run in copy.memory.populatedRuns() {
            try copy.memory.forEach(run) { index, page in
                if !isZero(page) { target.writablePage(index).copyMemory(from: page) }
            }
        }
    }

    /// Removes what the samples kept.
    func end() {
        for sample in samples { AtomicFile.remove(sample.pack) }
        for name in ["old", "new"] { AtomicFile.remove("\(folder)/\(name)") }
        samples = []
    }
}
