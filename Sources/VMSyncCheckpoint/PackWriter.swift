import CXXHash
import Foundation
import VMSyncCore

/// Writes a pack in one pass, into a sink that the caller gives.
///
/// The order: memory units in rising order, then the units of each disk in rising order, then the device state, then
/// `finish`. Nothing is allocated per unit.
package final class PackWriter {
    /// Where the bytes go, piece by piece.
    package typealias Sink = (UnsafeRawBufferPointer) throws(VMSyncError) -> Void

    /// Runs of a device state shorter than this are compressed without the window: to look through its megabytes takes up
    /// to 16 ms, and was seen to save no more than a KB there.
    private static let runsWithoutWindow = 64 << 10
    /// Where the level says that time is short, so are those of which zstd alone leaves less than this.
    private static let frameWithoutWindow = 64 << 10
    /// Of so many it seldom does, for they are a picture of a film, and trying took 7 ms.
    private static let runsWithWindow = 1 << 20

    private let sink: Sink
    private let clock: () -> Double
    private let compressor: ZstdCompressor
    private let hashing: OpaquePointer
    private var builder = UnitSectionBuilder()
    private var open: (kind: SectionKind, disk: Int)?
    private var sections = 0
    private var scratch: [UInt8] = []
    private var runs = RunEncoder()
    private let estimate = UnitEstimate()
    private var window = ContentWindow()
    /// Bytes handed to the sink so far.
    package private(set) var length = 0
    /// What went into the pack so far.
    package private(set) var tally = PackTally()

    /// - Parameters:
    ///   - clearsMemory: memory that the pack doesn't name becomes zero; only a merge needs it.
    ///   - clock: tells seconds, by which the tally says what compressing took; 0 if nobody wants to know.
    package init(
        compressor: ZstdCompressor, clearsMemory: Bool = false, clock: @escaping () -> Double = { 0 },
        sink: @escaping Sink
    ) throws(VMSyncError) {
        guard let hashing = XXH3_createState() else { throw VMSyncError(.noSpace, "no memory for a hash") }
        XXH3_128bits_reset(hashing)
        self.hashing = hashing
        self.compressor = compressor
        self.clock = clock
        self.sink = sink
        try emit(PackLayout.prologue(flags: clearsMemory ? PackLayout.clearsMemory : 0))
    }

    deinit { XXH3_freeState(hashing) }

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
        let runLength = parent.flatMap { runs.find(from: $0, to: page) }
        if let runLength, runLength <= UnitEstimate.runsBeforeSearch { return try addRuns(index) }
        if let source = try find() { return try add(index, UnitValue(source)) }
        switch estimate.choose(page, runLength: runLength) {
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
        if case .whole(let bytes) = source { form = estimate.cheapest(bytes).0 }
        guard let patch else { return try add(unit.index, UnitValue(source), form) }
        try patch.places.withRawBytes { places throws(VMSyncError) in
            try patch.bytes.withRawBytes { bytes throws(VMSyncError) in
                let value = UnitValue(source, runs: Runs(places: places, bytes: bytes))
                try add(unit.index, value, form, runCount: patch.runs.count)
            }
        }
    }

    private func addRuns(_ index: Int) throws(VMSyncError) {
        try add(index, UnitValue(.own, runs: runs.runs), runCount: runs.count)
    }

    private func add(
        _ index: Int, _ value: UnitValue, _ form: PageForm = .plain, runCount: Int = 0
    ) throws(VMSyncError) {
        builder.add(index, value, form: form, runCount: runCount)
        tally.count(value.source, form)
        if open?.kind == .memory { window.append(value) }
        if builder.isFull { try closeSection() }
    }

    /// The device state: what differs from the parent's if both are as long, else whole, with the parent's as prefix;
    /// compressed against what memory carried, where that may help.
    package func addDeviceState(
        _ state: UnsafeRawBufferPointer, parent: UnsafeRawBufferPointer
    ) throws(VMSyncError) {
        try closeSection()
        let stored: Int
        let compression: SectionCompression
        if let runs = StateRuns.encode(state, over: parent) {
            compression = .runsOverParent
            stored = try runs.withRawBytes { runs throws(VMSyncError) in try compress(stateRuns: runs) }
        } else {
            let prefix = window.prefix(after: parent)
            compression = prefix.isEmpty ? .zstd : .zstdWithPrefix
            stored = try compress(state, prefix: prefix)
        }
        tally.deviceStateStored = stored
        try emitSection(
            SectionHeader(
                kind: .deviceState, compression: compression, disk: 0, rawLength: state.count, storedLength: stored))
    }

    private func compress(stateRuns runs: UnsafeRawBufferPointer) throws(VMSyncError) -> Int {
        if runs.count < Self.runsWithoutWindow { return try compress(runs, prefix: []) }
        if compressor.level == ZstdCompressor.fastLevel, runs.count < Self.runsWithWindow {
            let length = try compress(runs, prefix: [])
            if length < Self.frameWithoutWindow { return length }
        }
        return try compress(runs, prefix: window.content)
    }

    /// Puts `bytes` as one frame into `scratch`.
    private func compress(_ bytes: UnsafeRawBufferPointer, prefix: [UInt8]) throws(VMSyncError) -> Int {
        scratch.removeAll(keepingCapacity: true)
        return try prefix.withRawBytes { prefix throws(VMSyncError) in
            try compressor.append(bytes, prefix: prefix.isEmpty ? nil : prefix, to: &scratch)
        }
    }

    /// Ends the pack. Nothing may be added afterwards.
    package func finish(_ manifest: Manifest) throws(VMSyncError) -> Int {
        try closeSection()
        let json: Data
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys]
            json = try encoder.encode(manifest)
        } catch {
            throw VMSyncError(.bug, "a manifest can't be written: \(error)")
        }
        let manifestLength = try Array(json).withRawBytes { json throws(VMSyncError) in
            try compress(json, prefix: ManifestDictionary.bytes)
        }
        try emit(scratch)
        var trailer: [UInt8] = []
        PackLayout.append(UInt32(manifestLength), to: &trailer)
        PackLayout.append(UInt32(sections), to: &trailer)
        PackLayout.append(UInt64(length + PackLayout.trailerLength), to: &trailer)
        trailer.withUnsafeBytes { _ = XXH3_128bits_update(hashing, $0.baseAddress, $0.count) }
        trailer.append(contentsOf: XXH3_128bits_digest(hashing).canonicalBytes)
        try trailer.withRawBytes { bytes throws(VMSyncError) in try sink(bytes) }
        return length + PackLayout.trailerLength
    }

    private func begin(_ kind: SectionKind, disk: Int) throws(VMSyncError) {
        if let open, open.kind == kind, open.disk == disk { return }
        try closeSection()
        open = (kind, disk)
    }

    private func closeSection() throws(VMSyncError) {
        guard let current = open, builder.count > 0 else { return }
        scratch.removeAll(keepingCapacity: true)
        var lengths = (raw: 0, stored: 0)
        try builder.take { raw throws(VMSyncError) in
            let start = clock()
            lengths = (raw.count, try compressor.append(raw, to: &scratch))
            tally.compressionSeconds += clock() - start
        }
        tally.sectionsRaw += lengths.raw
        tally.sectionsStored += lengths.stored
        try emitSection(
            SectionHeader(
                kind: current.kind, compression: .zstd, disk: current.disk, rawLength: lengths.raw,
                storedLength: lengths.stored))
    }

    private func emitSection(_ header: SectionHeader) throws(VMSyncError) {
        try emit(header.bytes)
        try emit(scratch)
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
