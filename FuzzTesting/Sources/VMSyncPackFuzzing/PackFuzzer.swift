import VMSyncCheckpoint
import VMSyncCore

/// Feeds one input of a fuzzer to everything that reads packs, and says what is wrong with what comes out.
///
/// A pack may be refused. If it is taken, it must be what it says: each unit in its place, the same when it is written
/// again, and its merges with a pack before and a pack behind must do what the two do one after the other.
package final class PackFuzzer {
    private let recipe = PackRecipe()
    private let workspace = PackWorkspace()
    private let compressor = ZstdCompressor()
    private let neighbours: PackNeighbours
    /// A manifest may ask for 256 MiB, which would make the fuzzer slow and find nothing.
    private static let deviceStateMax = 1 << 16
    private let dearTries: Int

    /// - Parameter dearTries: a pack is written again or merged for one in so many inputs. That takes several times as
    ///   long as to read it, and a fuzzer that does it for all of them reads fewer.
    package init(dearTries: Int = 1) {
        self.dearTries = dearTries
        do {
            neighbours = try PackNeighbours()
        } catch {
            preconditionFailure("the packs beside the fuzzed one can't be made: \(error)")
        }
    }

    package enum Verdict: Equatable {
        case refused
        case taken
        /// Something that no input may bring about.
        case wrong(String)
    }

    package func verdict(on input: [UInt8]) -> Verdict {
        let pack = recipe.pack(input, compressor: compressor)
        let tries = Tries(input, oneIn: dearTries)
        do throws(VMSyncError) {
            return try pack.withRawBytes { bytes throws(VMSyncError) in
                let reader = try PackReader(bytes)
                guard reader.manifest.deviceStateBytes <= Self.deviceStateMax else { return .refused }
                let parentState = reader.manifest.isKeyframe ? [] : PackRecipe.parentState
                let validation = try parentState.withRawBytes { state throws(VMSyncError) in
                    try reader.validate(parentDeviceState: state)
                }
                return complaint(about: reader, validation, pack, tries).map(Verdict.wrong) ?? .taken
            }
        } catch {
            return error.code == .bug ? .wrong("\(error)") : .refused
        }
    }

    /// What else is done with a pack that was taken: all with each would make the fuzzer several times slower.
    private struct Tries {
        let write: Bool
        let merge: Bool

        init(_ input: [UInt8], oneIn: Int) {
            guard let first = input.first, let last = input.last, Int(last) % oneIn == 0 else {
                (write, merge) = (false, false)
                return
            }
            write = first & 64 != 0
            merge = first & 128 != 0
        }
    }

    /// What is wrong with a pack that was taken. Nothing may be refused any more.
    private func complaint(
        about reader: PackReader, _ validation: PackReader.Validation, _ pack: [UInt8], _ tries: Tries
    ) -> String? {
        do throws(VMSyncError) {
            let model = try PackModel(reader, after: .start)
            if let complaint = model.complaint { return complaint }
            guard Set(validation.stash) == model.stash else { return "units to save are missing, or too many" }
            if tries.write, let complaint = try complaint(writingAgain: reader, model) { return complaint }
            return tries.merge ? try complaint(merging: reader, pack, model) : nil
        } catch {
            return "a pack that was taken is refused later: \(error)"
        }
    }

    private func complaint(writingAgain reader: PackReader, _ model: PackModel) throws(VMSyncError) -> String? {
        var (written, manifest): ([UInt8], Manifest) = ([], reader.manifest)
        let isLive = manifest.kind == .live
        let writer = try PackWriter(workspace, clearsMemory: reader.clearsMemory && isLive) {
            written.append(contentsOf: $0)
        }
        if isLive {
            try writer.addDeviceState([])
            manifest.deviceStateBytes = 0
            manifest.digest.deviceState = Hash128(of: UnsafeRawBufferPointer(start: nil, count: 0))
        }
        try PackContent(reader).write(to: writer)
        _ = try writer.finish(manifest)
        return try ModelState.start.after(written) == model.state ? nil : "written again it is another pack"
    }

    private func complaint(
        merging reader: PackReader, _ pack: [UInt8], _ model: PackModel
    ) throws(VMSyncError) -> String? {
        guard let later = neighbours.later(than: reader.manifest) else { return nil }
        let first = PackRecipe.firstState
        let withEarlier = try ModelState.start.after(merged(neighbours.earlier, pack, deviceState: first))
        guard try withEarlier == PackModel(reader, after: neighbours.stateAfterEarlier).state else {
            return "merged with the pack before it, it does something else"
        }
        let parent = reader.manifest.isKeyframe ? [] : PackRecipe.parentState
        let withLater = try ModelState.start.after(merged(pack, later, deviceState: parent))
        guard try withLater == model.state.after(later) else {
            return "merged with the pack behind it, it does something else"
        }
        return nil
    }

    private func merged(
        _ earlier: [UInt8], _ later: [UInt8], deviceState: [UInt8]
    ) throws(VMSyncError) -> [UInt8] {
        var merged: [UInt8] = []
        try earlier.withRawBytes { earlier throws(VMSyncError) in
            try later.withRawBytes { later throws(VMSyncError) in
                _ = try Merge.merge(earlier, later, deviceState: deviceState, workspace: workspace) {
                    merged.append(contentsOf: $0)
                }
            }
        }
        return merged
    }
}
