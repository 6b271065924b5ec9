import NBD
import VMSyncCore

/// The disk as an NBD export.
extension OverlayDisk: BlockDevice {
    package var blockSize: NBDBlockSize { NBDBlockSize(minimum: 1, preferred: UInt32(DiskBlock.size)) }
    package var zeroesFast: Bool { true }

    package func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        try awaitBase(of: offset..<offset + UInt64(buffer.count))
        try load(at: offset, into: buffer)
    }

    package func readPromptly(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        loadCached(at: offset, into: buffer)
    }

    package func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, fua: Bool) throws {
        try awaitEnds(of: offset..<offset + UInt64(bytes.count))
        try store(bytes, at: offset, fua: fua)
    }

    package func trim(at offset: UInt64, length: UInt64) throws {
        try awaitEnds(of: offset..<offset + length)
        try zero(at: offset, length: length, mayTrim: true)
    }

    package func writeZeroes(at offset: UInt64, length: UInt64, mayTrim: Bool, fua: Bool) throws {
        try awaitEnds(of: offset..<offset + length)
        try zero(at: offset, length: length, mayTrim: mayTrim, fua: fua)
    }

    package func status(at offset: UInt64, length: UInt64) throws -> [NBDExtent] {
        try extents(at: offset, length: length)
    }
}

extension VMSyncError: NBDReportable {
    package var nbdError: NBDError? {
        switch code {
        // The daemon ends, or lets go of the VM: whoever serves the disk next answers.
        case .cancelled: nil
        case .noSpace: .noSpace
        case .invalidInput: .invalid
        case .wrongState: .shuttingDown
        default: .io
        }
    }
}
