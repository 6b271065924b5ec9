import CXXHash
import Foundation
import VMSyncCore

/// A pack that may come from anybody, checked as docs/format/checkpoint.md says before anything is handed out.
///
/// `init` checks framing, checksum and manifest; `validate` decompresses and checks every record without handing out any;
/// then `forEachUnit` and `deviceState` are sure not to meet a damaged one, so that a refused pack leaves the state as it
/// was. Borrows `bytes`: they must stay where they are as long as the reader lives.
package final class PackReader {
    package let manifest: Manifest
    private let bytes: UnsafeRawBufferPointer
    private let sections: [Section]
    private let decompressor = ZstdDecompressor()

    struct Section {
        let header: SectionHeader
        let stored: Range<Int>
    }

    /// Whose units a call of `forEachUnit` hands out.
    package enum Target: Hashable, Sendable {
        case memory
        case disk(Int)
    }

    package init(_ bytes: UnsafeRawBufferPointer) throws(VMSyncError) {
        let trailer = try Self.checkFraming(bytes)
        let manifestStart = bytes.count - PackLayout.trailerLength - trailer.manifestLength
        guard trailer.manifestLength <= Limits.manifestMax, manifestStart >= PackLayout.prologueLength else {
            throw Self.damaged("its manifest has an impossible length")
        }
        let json = Data(bytes[manifestStart..<manifestStart + trailer.manifestLength])
        do {
            manifest = try JSONDecoder().decode(Manifest.self, from: json)
        } catch {
            throw Self.damaged("its manifest doesn't parse: \(error)")
        }
        try manifest.definition.validate()
        guard manifest.isConsistent else { throw Self.damaged("its manifest contradicts itself") }
        self.bytes = bytes
        sections = try Self.readSections(bytes, end: manifestStart, count: trailer.sectionCount, manifest: manifest)
    }

    /// Decompresses every section and checks every record.
    /// - Parameter parentDeviceState: the device state of the checkpoint that this replica holds.
    package func validate(parentDeviceState: UnsafeRawBufferPointer) throws(VMSyncError) {
        try forEachUnit { _, _, _ in }
        _ = try deviceState(parent: parentDeviceState)
    }

    /// Hands out every unit, memory first, in rising order.
    package func forEachUnit(_ body: (Target, Int, UnitChange) throws(VMSyncError) -> Void) throws(VMSyncError) {
        let raw = UnsafeMutableRawBufferPointer.allocate(byteCount: Limits.sectionMax, alignment: 64)
        defer { raw.deallocate() }
        var next: [Target: Int] = [:]
        for section in sections {
            guard let target = section.target else { continue }
            let content = try decompress(section, into: raw)
            let reader = UnitSectionReader(
                raw: content, unitCount: manifest.unitCount(of: target), allowsDelta: target == .memory)
            try reader.forEach(next: &next[target, default: 0]) { index, change throws(VMSyncError) in
                try body(target, index, change)
            }
        }
    }

    /// The device state of this checkpoint; nil if the VM is off.
    package func deviceState(parent: UnsafeRawBufferPointer) throws(VMSyncError) -> [UInt8]? {
        guard let section = sections.first(where: { $0.header.kind == .deviceState }) else { return nil }
        let stored = UnsafeRawBufferPointer(rebasing: bytes[section.stored])
        var state: [UInt8]
        switch section.header.compression {
        case .none:
            state = Array(stored)
        case .zstd, .zstdWithPrefix:
            let prefix = section.header.compression == .zstdWithPrefix ? parent : nil
            state = [UInt8](repeating: 0, count: section.header.rawLength)
            try state.withMutableRawBytes { output throws(VMSyncError) in
                try decompressor.decompress(stored, prefix: prefix, into: output)
            }
        }
        let hash = state.withUnsafeBytes { Hash128(of: $0) }
        guard hash == manifest.digest.deviceState else { throw Self.damaged("its device state has another digest") }
        return state
    }

    private func decompress(
        _ section: Section, into raw: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) -> UnsafeRawBufferPointer {
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
    var target: PackReader.Target? {
        switch header.kind {
        case .memory: .memory
        case .disk: .disk(header.disk)
        case .deviceState: nil
        }
    }
}

extension Manifest {
    func unitCount(of target: PackReader.Target) -> Int {
        switch target {
        case .memory: definition.memoryUnits
        case .disk(let disk): Unit.count(ofBytes: definition.disks[disk].size)
        }
    }
}
