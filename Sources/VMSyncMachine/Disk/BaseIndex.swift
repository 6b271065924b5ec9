#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif
import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// Finds the block of a base image that holds given bytes. A guest's memory is full of what it read from its disk; what
/// stands on the base image needn't be sent.
///
/// The index lies in a file beside the image, made once per device: 16 to 32 bytes per block that isn't a hole or zero. Read
/// through a mapping, so only the parts that are asked for take memory.
package final class BaseIndex {
    /// Changes with the layout of the file and the hash: a file of another version is made anew.
    private static let magic: UInt64 = 0x0001_5844_4942_4D56
    private static let headerLength = 4096
    private static let readBytes = 1 << 20

    private let mapping: UnsafeMutableRawBufferPointer
    private let index: ContentIndex
    private let base: DiskFile
    private let blocks: Int

    /// Opens the index of the raw image at `base`, which must not change; makes it if it isn't there.
    /// - Parameter diskSize: bytes of the disk that begins from the image; blocks behind its end are never found.
    package init(base path: String, diskSize: UInt64) throws(VMSyncError) {
        base = try DiskFile(path, O_RDONLY)
        let size = try base.length()
        blocks = Unit.count(ofBytes: min(size, diskSize))
        mapping = try Self.mapOrBuild(base, size: size)
        index = ContentIndex(Self.entries(of: mapping))
    }

    /// Of two that begin from the same image at once, the second waits and finds the index of the first.
    private static func mapOrBuild(
        _ base: DiskFile, size: UInt64
    ) throws(VMSyncError) -> UnsafeMutableRawBufferPointer {
        let file = base.path + ".index"
        if let mapping = try map(file, baseSize: size) { return mapping }
        try base.lockWaiting()
        defer { base.unlock() }
        if let mapping = try map(file, baseSize: size) { return mapping }
        try build(file, from: base.path, size: size)
        guard let mapping = try map(file, baseSize: size) else {
            throw VMSyncError(.corrupt, "\(file) isn't as it was written")
        }
        return mapping
    }

    deinit { munmap(mapping.baseAddress, mapping.count) }

    /// The block that holds `bytes`, which are those of one unit; each candidate is read and compared.
    package func find(
        _ content: Hash128, _ bytes: UnsafeRawBufferPointer, scratch: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) -> Int? {
        try index.find(content) { block throws(VMSyncError) in
            guard block < blocks else { return false }
            try base.read(into: scratch, at: UInt64(block * Unit.size))
            return UnsafeRawBufferPointer(scratch).holdsSame(as: bytes)
        }
    }

    private static func entries(of mapping: UnsafeMutableRawBufferPointer) -> UnsafeMutableBufferPointer<UInt64> {
        UnsafeMutableRawBufferPointer(rebasing: mapping[headerLength...]).bindMemory(to: UInt64.self)
    }

    /// Nil if there is no index of this image at `path`.
    private static func map(_ path: String, baseSize: UInt64) throws(VMSyncError) -> UnsafeMutableRawBufferPointer? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system("fstat", path: path) }
        let length = Int(status.st_size)
        let entries = (length - headerLength) / MemoryLayout<UInt64>.size
        guard entries >= 4, entries.nonzeroBitCount == 1, length == headerLength + entries * 8 else { return nil }
        // Private and writable only because the index is shared with one that writes; nothing here does.
        guard let address = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED
        else { throw .system("mmap", path: path) }
        let mapping = UnsafeMutableRawBufferPointer(start: address, count: length)
        guard mapping.load(as: UInt64.self) == magic, mapping.load(fromByteOffset: 8, as: UInt64.self) == baseSize
        else {
            munmap(address, length)
            return nil
        }
        return mapping
    }

    private static func build(_ path: String, from image: String, size: UInt64) throws(VMSyncError) {
        let base = try BaseImage(image)
        let extents = base.extents(at: 0, length: size)
        let units = extents.reduce(0) { $0 + ($1.kind == .data ? Unit.count(ofBytes: $1.length) : 0) }
        var contents = [UInt8](repeating: 0, count: headerLength + ContentIndex.entryCount(forUnits: units) * 8)
        try contents.withMutableRawBytes { contents throws(VMSyncError) in
            contents.storeBytes(of: magic, as: UInt64.self)
            contents.storeBytes(of: size, toByteOffset: 8, as: UInt64.self)
            let index = ContentIndex(entries(of: contents))
            var start: UInt64 = 0
            for extent in extents {
                if extent.kind == .data { try insert(start..<start + extent.length, of: base, into: index) }
                start += extent.length
            }
        }
        try AtomicFile.write(bytes: contents, to: path)
    }

    private static func insert(
        _ range: Range<UInt64>, of base: BaseImage, into index: ContentIndex
    ) throws(VMSyncError) {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: readBytes, alignment: Unit.size)
        defer { buffer.deallocate() }
        // Whole units, should a file system store less than one in an extent.
        let first = range.lowerBound / UInt64(Unit.size) * UInt64(Unit.size)
        for start in stride(from: first, to: range.upperBound, by: readBytes) {
            // Beyond the image's end there are zeros, as a VM would read them.
            try base.read(into: buffer, at: start)
            let length = Unit.count(ofBytes: min(UInt64(readBytes), range.upperBound - start)) * Unit.size
            for offset in stride(from: 0, to: length, by: Unit.size) {
                let block = UnsafeRawBufferPointer(rebasing: buffer[offset..<offset + Unit.size])
                if isZero(block) { continue }
                index.insert(UnitHash.block(block), at: (Int(start) + offset) / Unit.size)
            }
        }
    }
}
