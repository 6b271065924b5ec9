import NBD
import Synchronization

/// A disk in memory, that fails where a test says so.
final class MemoryDisk: BlockDevice {
    let size: UInt64
    let blockSize = NBDBlockSize()
    let zeroesFast = true
    private let bytes: Mutex<[UInt8]>
    /// Requests that touch this offset throw `failure`.
    private let failsAt: UInt64?
    private let failure: any Error
    /// Reads that end here or before are at hand; all others have to wait.
    private let promptEnd: UInt64
    let flushes = Mutex(0)
    private let hasChanged = Mutex(true)
    let reads = Mutex(0)
    let promptReads = Mutex(0)

    init(size: Int, failsAt: UInt64? = nil, failure: any Error = NBDError.io, promptEnd: UInt64 = 0) {
        self.size = UInt64(size)
        self.promptEnd = promptEnd
        self.failsAt = failsAt
        self.failure = failure
        bytes = Mutex([UInt8](repeating: 0, count: size))
    }

    var content: [UInt8] { bytes.withLock { $0 } }

    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws {
        reads.withLock { $0 += 1 }
        try check(offset, buffer.count)
        bytes.withLock { buffer.copyBytes(from: $0[Int(offset)..<Int(offset) + buffer.count]) }
    }

    func readPromptly(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        guard offset + UInt64(buffer.count) <= promptEnd else {
            // What was begun may be left behind.
            buffer.copyBytes(from: repeatElement(0xee, count: buffer.count))
            return false
        }
        promptReads.withLock { $0 += 1 }
        guard (try? check(offset, buffer.count)) != nil else { return false }
        bytes.withLock { buffer.copyBytes(from: $0[Int(offset)..<Int(offset) + buffer.count]) }
        return true
    }

    func write(_ new: UnsafeRawBufferPointer, at offset: UInt64, fua: Bool) throws {
        try check(offset, new.count)
        bytes.withLock { bytes in
            bytes.withUnsafeMutableBytes {
                UnsafeMutableRawBufferPointer(rebasing: $0[Int(offset)...]).copyMemory(from: new)
            }
        }
        hasChanged.withLock { $0 = true }
        if fua { try flush() }
    }

    func flush() throws {
        hasChanged.withLock { $0 = false }
        flushes.withLock { $0 += 1 }
    }

    var isFlushed: Bool { hasChanged.withLock { !$0 } }

    func trim(at offset: UInt64, length: UInt64) throws {
        try writeZeroes(at: offset, length: length, mayTrim: true, fua: false)
    }

    func writeZeroes(at offset: UInt64, length: UInt64, mayTrim: Bool, fua: Bool) throws {
        try check(offset, Int(length))
        bytes.withLock { bytes in
            for index in Int(offset)..<Int(offset + length) { bytes[index] = 0 }
        }
        hasChanged.withLock { $0 = true }
        if fua { try flush() }
    }

    /// Blocks of 64 KiB that are all zero are holes.
    func status(at offset: UInt64, length: UInt64) throws -> [NBDExtent] {
        try check(offset, Int(length))
        return bytes.withLock { bytes in
            stride(from: Int(offset), to: Int(offset + length), by: 65536).map { start in
                let part = bytes[start..<min(start + 65536, Int(offset + length))]
                return NBDExtent(length: UInt64(part.count), kind: part.allSatisfy { $0 == 0 } ? .hole : .data)
            }
        }
    }

    private func check(_ offset: UInt64, _ length: Int) throws {
        if let failsAt, offset <= failsAt, failsAt < offset + UInt64(length) { throw failure }
    }
}
