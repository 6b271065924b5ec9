/// A range of bytes that an `NBDServer` exports.
///
/// The server calls these on threads of its pool only, several at once, so they may block and must be safe to call
/// concurrently; `readPromptly` and `isFlushed` alone are called on event loops, and must not block. It has checked
/// that every range lies within `size`. Requests that overlap in space and in time may take effect in any order. An
/// error that is `NBDReportable` reaches the client as it says, if at all, any other one as EIO.
package protocol BlockDevice: Sendable {
    /// In bytes; fixed for the device's life.
    var size: UInt64 { get }
    /// What the device would like requests to be. The server itself serves any alignment.
    var blockSize: NBDBlockSize { get }
    /// Whether `writeZeroes` never writes the zeros out, so that a client may zero a whole disk first.
    var zeroesFast: Bool { get }

    /// Fills `buffer` with the bytes from `offset` on.
    func read(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) throws
    /// The same if the bytes are at hand, in memory; or else gives false at once, also where reading them would fail.
    /// `buffer` may hold anything then, and `read` is called.
    func readPromptly(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool
    /// Stores `bytes` from `offset` on; with `fua` on permanent storage before it returns.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64, fua: Bool) throws
    /// Returns when every write that had returned before the call is on permanent storage.
    func flush() throws
    /// Whether every write that has returned is on permanent storage already; false if that can't be told at once.
    var isFlushed: Bool { get }
    /// The content of the range is no longer needed.
    func trim(at offset: UInt64, length: UInt64) throws
    /// The range reads as zeros from now on. Its storage may be given back only with `mayTrim`.
    func writeZeroes(at offset: UInt64, length: UInt64, mayTrim: Bool, fua: Bool) throws
    /// What lies in the range: extents one after the other from `offset` on, none empty. At least one; they may end
    /// before the range does, and must not reach beyond it.
    func status(at offset: UInt64, length: UInt64) throws -> [NBDExtent]
}

extension BlockDevice {
    // For a device that can't tell whether it would block.
    package func readPromptly(at offset: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool { false }
    package var isFlushed: Bool { false }
}

/// Sizes of requests in bytes. Each is a power of two (a maximum also any multiple of the preferred one).
package struct NBDBlockSize: Sendable {
    package var minimum: UInt32
    package var preferred: UInt32
    package var maximum: UInt32

    package init(minimum: UInt32 = 1, preferred: UInt32 = 4096, maximum: UInt32 = 32 << 20) {
        self.minimum = minimum
        self.preferred = preferred
        self.maximum = maximum
    }
}

/// A run of bytes that are stored in the same way.
package struct NBDExtent: Sendable, Equatable {
    package enum Kind: Sendable {
        /// Stored bytes.
        case data
        /// Storage is set aside, and reads as zeros.
        case zero
        /// No storage; reads as zeros.
        case hole
    }
    package var length: UInt64
    package var kind: Kind

    package init(length: UInt64, kind: Kind) {
        self.length = length
        self.kind = kind
    }
}
