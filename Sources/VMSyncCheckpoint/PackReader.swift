import CXXHash
import Foundation
import VMSyncCore

/// A pack that may come from anybody, checked as docs/format/checkpoint.md says before anything is handed out.
///
/// `init` checks framing, checksum and manifest; `validate` decompresses and checks every record without handing out
/// any; then `forEachUnit` is sure not to meet a damaged one, so that a refused pack leaves the state as it was. Borrows
/// `bytes`: they must stay where they are as long as the reader lives.
package final class PackReader {
    package let manifest: Manifest
    /// Whether memory that the pack doesn't name becomes zero.
    package let clearsMemory: Bool
    private let bytes: UnsafeRawBufferPointer
    private let sections: [Section]
    private let decompressor: ZstdDecompressor
    /// Where a section is decompressed. As large as the largest section, so that whoever reads behind it is noticed by an
    /// address sanitizer.
    private let raw: UnsafeMutableRawBufferPointer

    struct Section {
        let header: SectionHeader
        let stored: Range<Int>
    }

    package init(_ bytes: UnsafeRawBufferPointer) throws(VMSyncError) {
        let trailer = try Self.checkFraming(bytes)
        let manifestStart = bytes.count - PackLayout.trailerLength - trailer.manifestLength
        guard trailer.manifestLength <= Limits.manifestMax, manifestStart >= PackLayout.prologueLength else {
            throw Self.damaged("its manifest has an impossible length")
        }
        let frame = UnsafeRawBufferPointer(rebasing: bytes[manifestStart..<manifestStart + trailer.manifestLength])
        let decompressor = ZstdDecompressor()
        manifest = try Self.readManifest(frame, decompressor)
        try manifest.definition.validate()
        guard manifest.isConsistent else { throw Self.damaged("its manifest contradicts itself") }
        self.bytes = bytes
        self.decompressor = decompressor
        clearsMemory = trailer.clearsMemory || manifest.kind == .off
        sections = try Self.readSections(bytes, end: manifestStart, count: trailer.sectionCount, manifest: manifest)
        let compressed = sections.filter { $0.space != nil && $0.header.compression != .none }
        raw = .allocate(byteCount: compressed.map(\.header.rawLength).max() ?? 0, alignment: 64)
    }

    deinit { raw.deallocate() }

    private static func readManifest(
        _ frame: UnsafeRawBufferPointer, _ decompressor: ZstdDecompressor
    ) throws(VMSyncError) -> Manifest {
        let length = try decompressor.contentSize(frame, limit: Limits.manifestMax)
        var json = [UInt8](repeating: 0, count: length)
        try json.withMutableRawBytes { json throws(VMSyncError) in
            try ManifestDictionary.bytes.withRawBytes { dictionary throws(VMSyncError) in
                try decompressor.decompress(frame, prefix: dictionary, into: json)
            }
        }
        do {
            return try JSONDecoder().decode(Manifest.self, from: Data(json))
        } catch {
            throw damaged("its manifest doesn't parse: \(error)")
        }
    }

    /// What `validate` finds out.
    package struct Validation {
        /// Nil if the VM is off.
        package var deviceState: [UInt8]?
        /// The units that are a source of the pack and have a value of their own in it: whoever applies the pack saves
        /// them before it changes any. Without repetition.
        package var stash: [UnitID]
    }

    /// Decompresses every section and checks every record.
    /// - Parameter parentDeviceState: the device state of the checkpoint that this replica holds.
    package func validate(parentDeviceState: UnsafeRawBufferPointer) throws(VMSyncError) -> Validation {
        var window = ContentWindow()
        let usesWindow = sections.contains { $0.usesWindow }
        var sources: Set<UnitID> = []
        var named = NamedUnits()
        try forEachUnit(named: &named) { unit, value throws(VMSyncError) in
            if case .parent(let source) = value.source { sources.insert(source) }
            if case .own = value.source, clearsMemory, unit.space == .memory {
                throw Self.damaged("it uses memory that it clears")
            }
            if usesWindow, unit.space == .memory { window.append(value) }
        }
        let stash = sources.filter { named.contains($0) || (clearsMemory && $0.space == .memory) }
        guard stash.count <= Limits.stashMax else { throw Self.damaged("it needs \(stash.count) units saved") }
        return Validation(deviceState: try deviceState(parentDeviceState, window), stash: Array(stash))
    }

    /// Hands out every unit, memory first, in rising order; the bytes live as long as the call.
    package func forEachUnit(_ body: (UnitID, UnitValue) throws(VMSyncError) -> Void) throws(VMSyncError) {
        var named = NamedUnits()
        try forEachUnit(named: &named, body)
    }

    private func forEachUnit(
        named: inout NamedUnits, _ body: (UnitID, UnitValue) throws(VMSyncError) -> Void
    ) throws(VMSyncError) {
        let page = UnsafeMutableRawBufferPointer.allocate(byteCount: Unit.size, alignment: 64)
        defer { page.deallocate() }
        for section in sections {
            guard let space = section.space else { continue }
            let content = try decompress(section)
            var reader = try UnitSectionReader(content, of: space, in: manifest.definition)
            try reader.forEach(named: &named, page: page) { index, value throws(VMSyncError) in
                try body(UnitID(space, index), value)
            }
        }
    }

    private func deviceState(
        _ parent: UnsafeRawBufferPointer, _ window: ContentWindow
    ) throws(VMSyncError) -> [UInt8]? {
        guard let section = sections.first(where: { $0.header.kind == .deviceState }) else { return nil }
        let stored = UnsafeRawBufferPointer(rebasing: bytes[section.stored])
        var state: [UInt8]
        switch section.header.compression {
        case .none:
            state = Array(stored)
        case .zstd, .zstdWithPrefix:
            let prefix = section.header.compression == .zstdWithPrefix ? window.prefix(after: parent) : []
            state = [UInt8](repeating: 0, count: section.header.rawLength)
            try state.withMutableRawBytes { output throws(VMSyncError) in
                try prefix.withRawBytes { prefix throws(VMSyncError) in
                    try decompressor.decompress(stored, prefix: prefix.isEmpty ? nil : prefix, into: output)
                }
            }
        case .runsOverParent:
            guard section.header.rawLength == parent.count else {
                throw Self.damaged("its device state is as long as another one than the parent's")
            }
            let limit = StateRuns.lengthMax(ofState: parent.count)
            var runs = [UInt8](repeating: 0, count: try decompressor.contentSize(stored, limit: limit))
            try runs.withMutableRawBytes { output throws(VMSyncError) in
                try window.content.withRawBytes { prefix throws(VMSyncError) in
                    try decompressor.decompress(stored, prefix: prefix.isEmpty ? nil : prefix, into: output)
                }
            }
            state = try runs.withRawBytes { runs throws(VMSyncError) in try StateRuns.apply(runs, over: parent) }
        }
        let hash = state.withUnsafeBytes { Hash128(of: $0) }
        guard hash == manifest.digest.deviceState else { throw Self.damaged("its device state has another digest") }
        return state
    }

    /// Hands out the raw bytes of each section of units, as they were before compression; for studies of the format.
    package func forEachRawSection(_ body: (UnsafeRawBufferPointer) throws(VMSyncError) -> Void) throws(VMSyncError) {
        for section in sections where section.space != nil { try body(try decompress(section)) }
    }

    private func decompress(_ section: Section) throws(VMSyncError) -> UnsafeRawBufferPointer {
        let stored = UnsafeRawBufferPointer(rebasing: bytes[section.stored])
        if section.header.compression == .none { return stored }
        let output = UnsafeMutableRawBufferPointer(rebasing: raw[..<section.header.rawLength])
        try decompressor.decompress(stored, into: output)
        return UnsafeRawBufferPointer(output)
    }

    static func damaged(_ reason: String) -> VMSyncError {
        VMSyncError(
            .corrupt, "the pack is damaged: \(reason)", hint: "it is fetched again by itself; see vmsync status")
    }
}

extension PackReader.Section {
    /// Whether it may have been compressed against what memory carried.
    var usesWindow: Bool {
        switch header.compression {
        case .none, .zstd: false
        case .zstdWithPrefix, .runsOverParent: true
        }
    }

    var space: UnitSpace? {
        switch header.kind {
        case .memory: .memory
        case .disk: .disk(header.disk)
        case .deviceState: nil
        }
    }
}

extension MachineDefinition {
    /// Units that memory or a disk has.
    package func unitCount(of space: UnitSpace) -> Int {
        switch space {
        case .memory: memoryUnits
        case .disk(let disk): Unit.count(ofBytes: disks[disk].size)
        }
    }
}
