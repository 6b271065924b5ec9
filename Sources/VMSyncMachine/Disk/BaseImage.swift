import CVMSyncLinux
import NBD
import Synchronization
import VMSyncCore

#if canImport(Glibc)
    import Glibc
#else
    import Musl
#endif

/// The immutable raw image that a disk begins from. Beyond its end it reads as zeros.
final class BaseImage: Sendable {
    private let file: DiskFile
    /// Nil for one that was whole from the beginning.
    private let arriving: ArrivingImage?
    /// Which reads are waited for: those that began under this number.
    private let reading = Atomic(0)
    /// Under which no read waits.
    private static let closed = Int.max
    private let waits = Atomic(0)

    init(_ path: String) throws(VMSyncError) {
        file = try DiskFile(path, O_RDONLY)
        arriving = nil
    }

    /// One that is still on its way.
    init(_ arriving: ArrivingImage) {
        file = arriving.file
        self.arriving = arriving
    }

    /// Doesn't wait for what isn't here.
    /// - Throws: `unavailable` if a part is still to come; `io`.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(VMSyncError) {
        guard arriving?.has(offset..<offset + UInt64(buffer.count)) ?? true else {
            throw VMSyncError(
                .unavailable, "a part of the base image isn't here yet", hint: "connect this device to the server")
        }
        try file.read(into: buffer, at: offset)
    }

    /// Waits until all of the range is here, however long that takes.
    /// - Throws: `cancelled` after `abandonReads`.
    func require(_ range: Range<UInt64>) throws(VMSyncError) {
        guard let arriving, !arriving.has(range) else { return }
        let number = reading.load(ordering: .acquiring)
        waits.add(1, ordering: .relaxed)
        defer { waits.subtract(1, ordering: .relaxed) }
        try arriving.require(range) {
            number == Self.closed || reading.load(ordering: .acquiring) != number
        }
    }

    /// Whether anything waits in `require`.
    var isAwaited: Bool { waits.load(ordering: .relaxed) > 0 }

    func readCached(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) -> Bool {
        guard arriving?.has(offset..<offset + UInt64(buffer.count)) ?? true else { return false }
        return file.readCached(into: buffer, at: offset)
    }

    /// Ends the reads that wait.
    /// - Parameter forGood: lets none wait any more.
    func abandonReads(forGood: Bool) {
        if forGood {
            reading.store(Self.closed, ordering: .releasing)
        } else if reading.load(ordering: .acquiring) != Self.closed {
            reading.add(1, ordering: .releasing)
        }
        arriving?.wake()
    }

    var isWhole: Bool { arriving?.isWhole ?? true }

    /// What of the range is still to come is put before all that nothing waits for.
    /// - Returns: whether all of it is here.
    func want(_ range: Range<UInt64>) -> Bool {
        arriving?.want(range)
        return arriving?.has(range) ?? true
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
        if let arriving, !arriving.isWhole { return arriving.nextData(from: offset) ?? .max }
        let next = cvmsync_next_data(file.descriptor, Int64(offset))
        if next >= 0 { return UInt64(next) }
        return errno == ENXIO ? .max : offset
    }

    /// The end of the stored bytes that begin at `offset`. Where the file system can't say, all of them are.
    private func nextHole(from offset: UInt64) -> UInt64 {
        if let arriving, !arriving.isWhole { return arriving.nextHole(from: offset) }
        let next = cvmsync_next_hole(file.descriptor, Int64(offset))
        return next > Int64(offset) ? UInt64(next) : .max
    }
}
