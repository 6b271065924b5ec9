import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine

/// One checkpoint that was kept, to be packed by others at leisure.
struct SessionSample: Sendable {
    let number: Int
    let pack: String
    let packBytes: Int
    let tally: PackTally
    /// Files with the guest's memory before and after.
    let memory: (old: String, new: String)?
}

/// What others make of one checkpoint, in bytes.
package struct SampleFigures: Sendable, Codable {
    /// Which one, counted from the start of the session.
    package var number: Int
    package var ours: Int
    /// Our own records under zstd -19, as over a slow link.
    package var ours_strong: Int
    /// Our own records under `xz -9e`: the floor.
    package var floor: Int
    /// `zstd -3 --patch-from` and `xdelta3` from the memory before to the memory after; the screen and the disks come on
    /// top of it.
    package var patch_from: Int?
    package var xdelta3: Int?
}

extension SessionSample {
    private static let strongLevel: Int32 = 19

    /// Packs it by the other means; takes up to a minute.
    func figures() async throws -> SampleFigures {
        let raw = pack + ".raw"
        defer { AtomicFile.remove(raw) }
        let strong = try recompressed(writingRawTo: raw)
        // The device state and the frame around the sections stay as they are.
        let rest = packBytes - tally.sectionsStored
        var figures = SampleFigures(
            number: number, ours: packBytes, ours_strong: rest + strong,
            floor: rest + (try await Self.count("xz -9e -T1 -c '\(raw)'", package: "xz-utils")))
        if let memory {
            figures.patch_from = try await Self.count(
                "zstd -3 -q --long=31 --patch-from='\(memory.old)' '\(memory.new)' -c", package: "zstd")
            figures.xdelta3 = try await Self.count(
                "xdelta3 -e -B 2147483648 -c -s '\(memory.old)' '\(memory.new)'", package: "xdelta3")
        }
        return figures
    }

    /// The bytes of all sections of units at the strong level; their raw bytes go to a file.
    private func recompressed(writingRawTo path: String) throws(VMSyncError) -> Int {
        let compressor = ZstdCompressor(level: Self.strongLevel)
        var total = 0
        var all: [UInt8] = []
        try MappedFile.with(pack) { bytes throws(VMSyncError) in
            try PackReader(bytes).forEachRawSection { section throws(VMSyncError) in
                var frame: [UInt8] = []
                total += try compressor.append(section, to: &frame)
                all.append(contentsOf: section)
            }
        }
        try AtomicFile.write(bytes: all, to: path)
        return total
    }

    private static func count(_ command: String, package: String) async throws -> Int {
        let output = try await QEMUTool.run(
            "bash", ["-c", "set -o pipefail; \(command) | wc -c"], package: package)
        guard let bytes = Int(output.trimmingCharacters(in: .whitespacesAndNewlines)) else {
            throw VMSyncError(.machine, "\(command) printed no number: \(output)")
        }
        return bytes
    }
}
