import VMSyncCore

/// A device state on its way into a pack: what differs from the parent's if both are as long, else whole, with the
/// parent's as prefix; compressed against what memory carried, where that may help.
///
/// It is made before the units are written, because it decides whether what they carry must be kept for it.
struct DeviceStateDraft {
    private enum Form {
        case frame([UInt8])
        case runs([UInt8])
        case whole([UInt8], parent: [UInt8])
    }

    /// Runs shorter than this are compressed without the window: to look through its megabytes takes up to 16 ms, and was
    /// seen to save no more than a KB there.
    private static let runsWithoutWindow = 64 << 10
    /// Where the level says that time is short, so are those of which zstd alone leaves less than this.
    private static let frameWithoutWindow = 64 << 10
    /// Of so many it seldom does, for they are a picture of a film, and trying took 7 ms.
    private static let runsWithWindow = 1 << 20

    /// Of the state itself, in bytes.
    let length: Int
    /// What differs from the parent's; nil if that isn't as long.
    let runs: [UInt8]?
    private let form: Form

    init(
        _ state: [UInt8], over parent: UnsafeRawBufferPointer, _ workspace: PackWorkspace
    ) throws(VMSyncError) {
        length = state.count
        runs = state.withRawBytes { StateRuns.encode($0, over: parent) }
        guard let runs else {
            form = .whole(state, parent: Array(parent))
            return
        }
        let level = workspace.level(runs.count)
        let areFew = runs.count < Self.runsWithoutWindow
        let isHurried = level == ZstdCompressor.fastLevel && runs.count < Self.runsWithWindow
        if areFew || isHurried {
            workspace.compressor.level = level
            let frame = try workspace.compressor.frame(of: runs)
            if areFew || frame.count < Self.frameWithoutWindow {
                form = .frame(frame)
                return
            }
        }
        form = .runs(runs)
    }

    /// Whether what memory carries is of use.
    var needsWindow: Bool { if case .frame = form { false } else { true } }

    /// The section's content.
    /// - Parameters:
    ///   - window: what the memory sections of the pack carried; looked at only if `needsWindow`.
    ///   - compressor: at the level that is right for the pack with this section.
    func stored(
        after window: borrowing ContentWindow, _ compressor: ZstdCompressor
    ) throws(VMSyncError) -> (bytes: [UInt8], compression: SectionCompression) {
        switch form {
        case .frame(let frame): return (frame, .runsOverParent)
        case .runs(let runs):
            return (try compressor.frame(of: runs, prefix: window.content), .runsOverParent)
        case .whole(let state, let parent):
            let prefix = parent.withRawBytes { window.prefix(after: $0) }
            return (try compressor.frame(of: state, prefix: prefix), prefix.isEmpty ? .zstd : .zstdWithPrefix)
        }
    }
}
