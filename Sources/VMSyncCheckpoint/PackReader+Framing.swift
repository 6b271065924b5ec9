import CXXHash
import VMSyncCore

extension PackReader {
    struct Trailer {
        let manifestLength: Int
        let sectionCount: Int
        /// Of the prologue, which is checked together with the trailer.
        let clearsMemory: Bool
    }

    /// Steps 1 and 2 of the checks: magic, version, length, checksum.
    static func checkFraming(_ bytes: UnsafeRawBufferPointer) throws(VMSyncError) -> Trailer {
        guard bytes.count >= PackLayout.prologueLength + PackLayout.trailerLength else {
            throw damaged("it is only \(bytes.count) bytes long")
        }
        guard bytes.prefix(PackLayout.magic.count).elementsEqual(PackLayout.magic) else {
            throw VMSyncError(.corrupt, "this is no vmsync pack")
        }
        let version = read(UInt16.self, bytes, at: 8)
        guard version == PackLayout.version else {
            throw VMSyncError(
                .incompatible, "the pack has format \(version), this vmsync knows \(PackLayout.version)",
                hint: "install the same vmsync on all devices")
        }
        let flags = read(UInt16.self, bytes, at: 10)
        guard flags & ~PackLayout.clearsMemory == 0, read(UInt32.self, bytes, at: 12) == 0 else {
            throw VMSyncError(.incompatible, "the pack uses a feature that this vmsync doesn't know")
        }
        let start = bytes.count - PackLayout.trailerLength
        guard read(UInt64.self, bytes, at: start + 8) == UInt64(bytes.count) else {
            throw damaged("\(bytes.count) bytes arrived, its trailer says another length")
        }
        let checked = bytes.count - 16
        let hash = XXH3_128bits(bytes.baseAddress, checked)
        guard bytes[checked...].elementsEqual(hash.canonicalBytes) else { throw damaged("its checksum is wrong") }
        return Trailer(
            manifestLength: Int(read(UInt32.self, bytes, at: start)),
            sectionCount: Int(read(UInt32.self, bytes, at: start + 4)),
            clearsMemory: flags & PackLayout.clearsMemory != 0)
    }

    /// Walks the section headers; every length is checked against the pack and the limits.
    static func readSections(
        _ bytes: UnsafeRawBufferPointer, end: Int, count: Int, manifest: Manifest
    ) throws(VMSyncError) -> [Section] {
        var sections: [Section] = []
        var offset = PackLayout.prologueLength
        while offset < end {
            guard end - offset >= PackLayout.sectionHeaderLength else { throw damaged("a section header is cut off") }
            let header = try readHeader(bytes, at: offset, manifest: manifest)
            let start = offset + PackLayout.sectionHeaderLength
            guard header.storedLength <= end - start else { throw damaged("a section is cut off") }
            sections.append(Section(header: header, stored: start..<start + header.storedLength))
            offset = start + header.storedLength
        }
        guard sections.count == count else { throw damaged("it has \(sections.count) sections and promised \(count)") }
        let places = sections.map { ($0.header.kind.rawValue, $0.header.disk) }
        guard zip(places, places.dropFirst()).allSatisfy({ $0 <= $1 }) else {
            throw damaged("its sections are out of order")
        }
        let states = sections.filter { $0.header.kind == .deviceState }
        guard states.count == (manifest.kind == .live ? 1 : 0),
            states.first?.header.rawLength ?? 0 == manifest.deviceStateBytes
        else { throw damaged("its device state isn't what its manifest says") }
        return sections
    }

    private static func readHeader(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, manifest: Manifest
    ) throws(VMSyncError) -> SectionHeader {
        guard let kind = SectionKind(rawValue: bytes[offset]),
            let compression = SectionCompression(rawValue: bytes[offset + 1]),
            read(UInt32.self, bytes, at: offset + 4) == 0
        else { throw VMSyncError(.incompatible, "the pack has a section that this vmsync doesn't know") }
        let disk = Int(read(UInt16.self, bytes, at: offset + 2))
        let raw = read(UInt64.self, bytes, at: offset + 8)
        let stored = read(UInt64.self, bytes, at: offset + 16)
        let rawMax = kind == .deviceState ? Limits.deviceStateMax : Limits.sectionMax
        guard raw <= UInt64(rawMax), stored <= UInt64(bytes.count), compression != .none || raw == stored,
            !compression.needsParent || kind == .deviceState,
            kind == .disk ? disk < manifest.definition.disks.count : disk == 0,
            kind != .memory || manifest.kind == .live
        else { throw damaged("a section header is impossible") }
        return SectionHeader(
            kind: kind, compression: compression, disk: disk, rawLength: Int(raw), storedLength: Int(stored))
    }

    private static func read<T: FixedWidthInteger>(
        _ type: T.Type, _ bytes: UnsafeRawBufferPointer, at offset: Int
    ) -> T {
        T(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: type))
    }
}
