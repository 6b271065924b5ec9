import CXXHash
import Foundation
import VMSyncCore

/// Writes a pack in one pass, into a sink that the caller gives.
///
/// The order: the device state, memory units in rising order, then the units of each disk in rising order, then `finish`.
/// Nothing is allocated per unit.
package final class PackWriter {
    /// Where the bytes go, piece by piece.
    package typealias Sink = (UnsafeRawBufferPointer) throws(VMSyncError) -> Void

    private let sink: Sink
    private let clock: () -> Double
    private let workspace: PackWorkspace
    private let hashing: OpaquePointer
    private var open: (kind: SectionKind, disk: Int)?
    private var sections = 0
    private var deviceState: DeviceStateDraft?
    /// What memory carried; filled only if the device state needs it.
    private var window = ContentWindow()
    private var fillsWindow = false
    /// Bytes handed to the sink so far.
    package private(set) var length = 0
    /// What went into the pack so far.
    package private(set) var tally = PackTally()
    /// The sections of units so far.
    package private(set) var frames: [CompressedFrame] = []

    /// - Parameters:
    ///   - clearsMemory: memory that the pack doesn't name becomes zero; only a merge needs it.
    ///   - clock: tells seconds, by which the frames say what compressing took; 0 if nobody wants to know.
    package init(
        _ workspace: PackWorkspace = PackWorkspace(), clearsMemory: Bool = false,
        clock: @escaping () -> Double = { 0 }, sink: @escaping Sink
    ) throws(VMSyncError) {
        guard let hashing = XXH3_createState() else { throw VMSyncError(.noSpace, "no memory for a hash") }
        XXH3_128bits_reset(hashing)
        self.hashing = hashing
        self.workspace = workspace
        self.clock = clock
        self.sink = sink
        workspace.clear()
        try emit(PackLayout.prologue(flags: clearsMemory ? PackLayout.clearsMemory : 0))
    }

    deinit { XXH3_freeState(hashing) }

    /// The device state, if the VM is live; before any unit, though it is stored behind them.
    /// - Parameter parent: that of the parent checkpoint; empty if it has none.
    package func addDeviceState(
        _ state: [UInt8], parent: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)
    ) throws(VMSyncError) {
        precondition(open == nil && deviceState == nil, "the device state comes first, and once")
        let draft = try DeviceStateDraft(state, over: parent, workspace)
        fillsWindow = draft.needsWindow
        deviceState = draft
    }

    /// What `StateRuns` makes the device state of the parent's with; nil if that isn't as long, or there is none.
    package var deviceStateRuns: [UInt8]? { deviceState?.runs }

    /// A page of memory, by the cheapest of what can give it.
    /// - Parameters:
    ///   - parent: the page as the parent checkpoint has it, where the sender still knows.
    ///   - find: looks for the content elsewhere; asked only if a few bytes of runs don't do.
    package func addMemory(
        _ index: Int, _ page: UnsafeRawBufferPointer, parent: UnsafeRawBufferPointer?,
        find: () throws(VMSyncError) -> UnitSource? = { () throws(VMSyncError) in nil }
    ) throws(VMSyncError) {
        try begin(.memory, disk: 0)
        if isZero(page) { return try add(index, UnitValue(.zero)) }
        let runLength = parent.flatMap { workspace.runs.find(from: $0, to: page) }
        if let runLength, runLength <= UnitEstimate.runsBeforeSearch { return try addRuns(index) }
        if let source = try find() { return try add(index, UnitValue(source)) }
        switch workspace.estimate.choose(page, runLength: runLength) {
        case .runs: try addRuns(index)
        case .whole(let form): try add(index, UnitValue(.whole(page)), form)
        }
    }

    /// A block of a disk; nil stands for a block of zeros.
    package func addBlock(
        disk: Int, _ index: Int, _ block: UnsafeRawBufferPointer?,
        find: () throws(VMSyncError) -> UnitSource? = { () throws(VMSyncError) in nil }
    ) throws(VMSyncError) {
        try begin(.disk, disk: disk)
        guard let block, !isZero(block) else { return try add(index, UnitValue(.zero)) }
        try add(index, UnitValue(find() ?? .whole(block)))
    }

    /// Any value, as a merge makes them.
    func add(_ unit: UnitID, _ source: UnitSource, _ patch: Patch?) throws(VMSyncError) {
        switch unit.space {
        case .memory: try begin(.memory, disk: 0)
        case .disk(let disk): try begin(.disk, disk: disk)
        }
        var form = PageForm.plain
        if case .whole(let bytes) = source { form = workspace.estimate.cheapest(bytes).0 }
        guard let patch else { return try add(unit.index, UnitValue(source), form) }
        try patch.places.withRawBytes { places throws(VMSyncError) in
            try patch.bytes.withRawBytes { bytes throws(VMSyncError) in
                let value = UnitValue(source, runs: Runs(places: places, bytes: bytes))
                try add(unit.index, value, form, runCount: patch.runs.count)
            }
        }
    }

    private func addRuns(_ index: Int) throws(VMSyncError) {
        try add(index, UnitValue(.own, runs: workspace.runs.runs), runCount: workspace.runs.count)
    }

    private func add(
        _ index: Int, _ value: UnitValue, _ form: PageForm = .plain, runCount: Int = 0
    ) throws(VMSyncError) {
        workspace.builder.add(index, value, form: form, runCount: runCount)
        tally.count(value.source, form)
        if fillsWindow, open?.kind == .memory { window.append(value) }
        if workspace.builder.isFull { try closeSection() }
    }

    /// Ends the pack. Nothing may be added afterwards.
    package func finish(_ manifest: Manifest) throws(VMSyncError) -> Int {
        try closeSection()
        try closeDeviceState()
        let frame = try compressed(manifest)
        try emit(frame)
        var trailer: [UInt8] = []
        PackLayout.append(UInt32(frame.count), to: &trailer)
        PackLayout.append(UInt32(sections), to: &trailer)
        PackLayout.append(UInt64(length + PackLayout.trailerLength), to: &trailer)
        trailer.withUnsafeBytes { _ = XXH3_128bits_update(hashing, $0.baseAddress, $0.count) }
        trailer.append(contentsOf: XXH3_128bits_digest(hashing).canonicalBytes)
        try trailer.withRawBytes { bytes throws(VMSyncError) in try sink(bytes) }
        workspace.giveBack()
        return length + PackLayout.trailerLength
    }

    private func compressed(_ manifest: Manifest) throws(VMSyncError) -> [UInt8] {
        let json: Data
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            json = try encoder.encode(manifest)
        } catch {
            throw VMSyncError(.bug, "a manifest can't be written: \(error)")
        }
        return try workspace.compressor.frame(of: Array(json), prefix: ManifestDictionary.bytes)
    }

    private func begin(_ kind: SectionKind, disk: Int) throws(VMSyncError) {
        if let open, open.kind == kind, open.disk == disk { return }
        try closeSection()
        open = (kind, disk)
    }

    private func closeSection() throws(VMSyncError) {
        guard let current = open, workspace.builder.count > 0 else { return }
        workspace.frame.removeAll(keepingCapacity: true)
        var frame = CompressedFrame(level: 0, raw: 0, stored: 0, seconds: 0)
        try workspace.builder.take { raw throws(VMSyncError) in
            chooseLevel(with: raw.count)
            let start = clock()
            let stored = try workspace.compressor.append(raw, to: &workspace.frame)
            frame = CompressedFrame(
                level: workspace.compressor.level, raw: raw.count, stored: stored, seconds: clock() - start)
        }
        frames.append(frame)
        tally.sectionsRaw += frame.raw
        tally.sectionsStored += frame.stored
        let header = SectionHeader(
            kind: current.kind, compression: .zstd, disk: current.disk, rawLength: frame.raw,
            storedLength: frame.stored)
        try emitSection(header, workspace.frame)
    }

    private func chooseLevel(with bytes: Int) {
        workspace.compressor.level = workspace.level(tally.sectionsRaw + bytes)
    }

    private func closeDeviceState() throws(VMSyncError) {
        guard let deviceState else { return }
        chooseLevel(with: deviceState.runs?.count ?? deviceState.length)
        let (stored, compression) = try deviceState.stored(after: window, workspace.compressor)
        tally.deviceStateStored = stored.count
        let header = SectionHeader(
            kind: .deviceState, compression: compression, disk: 0, rawLength: deviceState.length,
            storedLength: stored.count)
        try emitSection(header, stored)
    }

    private func emitSection(_ header: SectionHeader, _ stored: [UInt8]) throws(VMSyncError) {
        try emit(header.bytes)
        try emit(stored)
        sections += 1
    }

    private func emit(_ bytes: [UInt8]) throws(VMSyncError) {
        try bytes.withRawBytes { bytes throws(VMSyncError) in
            _ = XXH3_128bits_update(hashing, bytes.baseAddress, bytes.count)
            try sink(bytes)
        }
        length += bytes.count
    }
}

extension XXH128_hash_t {
    /// The canonical form of XXH3-128: big-endian, the high half first.
    var canonicalBytes: [UInt8] {
        var canonical = XXH128_canonical_t()
        XXH128_canonicalFromHash(&canonical, self)
        return withUnsafeBytes(of: canonical) { Array($0) }
    }
}
