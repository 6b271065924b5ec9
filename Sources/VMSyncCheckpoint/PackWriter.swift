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

    private let sink: Sink
    private let compressor: ZstdCompressor
    private let hashing: OpaquePointer
    private var builder = UnitSectionBuilder()
    private var open: (kind: SectionKind, disk: Int)?
    private var sections = 0
    private var scratch: [UInt8] = []
    private var delta = [UInt8](repeating: 0, count: Unit.size)
    /// Bytes handed to the sink so far.
    package private(set) var length = 0

    package init(compressor: ZstdCompressor, sink: @escaping Sink) throws(VMSyncError) {
        guard let hashing = XXH3_createState() else { throw VMSyncError(.noSpace, "no memory for a hash") }
        XXH3_128bits_reset(hashing)
        self.hashing = hashing
        self.compressor = compressor
        self.sink = sink
        try emit(PackLayout.prologue())
    }

    deinit { XXH3_freeState(hashing) }

    /// A page of memory, by the cheapest of zeros, a delta and the whole page.
    /// - Parameter parent: the page as the parent checkpoint has it, where the sender still knows.
    package func addMemory(
        _ index: Int, _ page: UnsafeRawBufferPointer, parent: UnsafeRawBufferPointer?
    ) throws(VMSyncError) {
        try begin(.memory, disk: 0)
        if isZero(page) {
            builder.addZero(index)
        } else if let parent, let length = encodeDelta(from: parent, to: page) {
            delta.withUnsafeBytes { builder.addDelta(index, UnsafeRawBufferPointer(rebasing: $0[..<length])) }
        } else {
            builder.addWhole(index, page)
        }
        if builder.isFull { try closeSection() }
    }

    /// A block of a disk; nil stands for a block of zeros.
    package func addBlock(
        disk: Int, _ index: Int, _ block: UnsafeRawBufferPointer?
    ) throws(VMSyncError) {
        try begin(.disk, disk: disk)
        if let block, !isZero(block) { builder.addWhole(index, block) } else { builder.addZero(index) }
        if builder.isFull { try closeSection() }
    }

    /// The device state, with the parent's as prefix where there is one.
    package func addDeviceState(
        _ state: UnsafeRawBufferPointer, parent: UnsafeRawBufferPointer?
    ) throws(VMSyncError) {
        try closeSection()
        scratch.removeAll(keepingCapacity: true)
        let prefix = (parent?.isEmpty ?? true) ? nil : parent
        let stored = try compressor.append(state, prefix: prefix, to: &scratch)
        try emitSection(
            SectionHeader(
                kind: .deviceState, compression: prefix == nil ? .zstd : .zstdWithPrefix, disk: 0,
                rawLength: state.count, storedLength: stored))
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
        try emit(Array(json))
        var trailer: [UInt8] = []
        PackLayout.append(UInt32(json.count), to: &trailer)
        PackLayout.append(UInt32(sections), to: &trailer)
        PackLayout.append(UInt64(length + PackLayout.trailerLength), to: &trailer)
        trailer.withUnsafeBytes { _ = XXH3_128bits_update(hashing, $0.baseAddress, $0.count) }
        trailer.append(contentsOf: XXH3_128bits_digest(hashing).canonicalBytes)
        try trailer.withRawBytes { bytes throws(VMSyncError) in try sink(bytes) }
        return length + PackLayout.trailerLength
    }

    private func encodeDelta(from parent: UnsafeRawBufferPointer, to page: UnsafeRawBufferPointer) -> Int? {
        delta.withUnsafeMutableBytes { Delta.encode(from: parent, to: page, into: $0) }
    }

    private func begin(_ kind: SectionKind, disk: Int) throws(VMSyncError) {
        if let open, open.kind == kind, open.disk == disk { return }
        try closeSection()
        open = (kind, disk)
    }

    private func closeSection() throws(VMSyncError) {
        guard let current = open, builder.count > 0 else { return }
        let raw = builder.take()
        scratch.removeAll(keepingCapacity: true)
        let stored = try raw.withRawBytes { bytes throws(VMSyncError) in
            try compressor.append(bytes, to: &scratch)
        }
        try emitSection(
            SectionHeader(
                kind: current.kind, compression: .zstd, disk: current.disk, rawLength: raw.count, storedLength: stored))
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
