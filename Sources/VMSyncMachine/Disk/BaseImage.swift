import CVMSyncLinux
import NBD
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// The immutable raw image that a disk begins from. Beyond its end it reads as zeros.
struct BaseImage: Sendable {
    private let file: DiskFile

    init(_ path: String) throws(VMSyncError) { file = try DiskFile(path, O_RDONLY) }

    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VMSyncError) {
        try file.read(into: buffer, at: offset)
    }

    func readCached(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        file.readCached(into: buffer, at: offset)
    }

    /// Whether nothing is stored in the range, so that it reads as zeros. False where the file system can't say.
    func isHole(at offset: UInt64, length: UInt64) -> Bool { nextData(from: offset) >= offset + length }

    /// How the range is stored: extents in order, none empty, together as long as the range.
    func extents(at offset: UInt64, length: UInt64) -> [NBDExtent] {
        var extents: [NBDExtent] = []
        var at = offset
        let end = offset + length
        while at < end {
            let data = min(nextData(from: at), end)
            if data > at { extents.append(NBDExtent(length: data - at, kind: .hole)) }
            guard data < end else { break }
            let hole = min(nextHole(from: data), end)
            extents.append(NBDExtent(length: hole - data, kind: .data))
            at = hole
        }
        return extents
    }

    /// The next stored byte, or the end of all numbers.
    private func nextData(from offset: UInt64) -> UInt64 {
        let next = cvmsync_next_data(file.descriptor, Int64(offset))
        if next >= 0 { return UInt64(next) }
        return errno == ENXIO ? .max : offset
    }

    /// The end of the stored bytes that begin at `offset`. Where the file system can't say, all of them are.
    private func nextHole(from offset: UInt64) -> UInt64 {
        let next = cvmsync_next_hole(file.descriptor, Int64(offset))
        return next > Int64(offset) ? UInt64(next) : .max
    }
}
