import CZstd
import VMSyncCore

/// Compresses sections; keeps its context, so that a checkpoint allocates nothing per section.
package final class ZstdCompressor {
    /// Level 1 takes in some 500 MB/s a core; the levels above cost more time than a fast link saves.
    package static let fastLevel: Int32 = 1
    /// A prefix must lie within the window: 2^28 covers the largest device state that a pack may hold.
    private static let windowLogMax: Int32 = 28

    private var context: OpaquePointer
    /// Where a frame is made, as large as any was: not each anew, because a new one must be touched first.
    private var frame = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    /// From 1, fast, to 19, strong; may change between any two frames.
    package var level: Int32

    package init(level: Int32 = ZstdCompressor.fastLevel) {
        context = Self.makeContext()
        self.level = level
    }

    private static func makeContext() -> OpaquePointer {
        guard let context = ZSTD_createCCtx() else { preconditionFailure("no memory for a zstd context") }
        return context
    }

    deinit {
        ZSTD_freeCCtx(context)
        frame.deallocate()
    }

    /// Appends one frame of `raw` to `output`.
    /// - Parameter prefix: bytes that the reader has too; what is found there costs next to nothing.
    /// - Returns: the length of the frame.
    package func append(
        _ raw: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer? = nil, to output: inout [UInt8]
    ) throws(VMSyncError) -> Int {
        ZSTD_CCtx_reset(context, ZSTD_reset_session_only)
        ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)
        setWindow(for: raw.count + (prefix?.count ?? 0), long: prefix != nil)
        if let prefix { ZSTD_CCtx_refPrefix(context, prefix.baseAddress, prefix.count) }
        makeRoom(for: ZSTD_compressBound(raw.count))
        let length = ZSTD_compress2(context, frame.baseAddress, frame.count, raw.baseAddress, raw.count)
        if ZSTD_isError(length) != 0 {
            throw VMSyncError(
                .bug, "zstd can't compress \(raw.count) bytes: \(String(cString: ZSTD_getErrorName(length)))")
        }
        output.append(contentsOf: frame[..<length])
        return length
    }

    /// One frame of `bytes`.
    /// - Parameter prefix: bytes that the reader has too, if there are any.
    package func frame(of bytes: [UInt8], prefix: [UInt8] = []) throws(VMSyncError) -> [UInt8] {
        var frame: [UInt8] = []
        try bytes.withRawBytes { bytes throws(VMSyncError) in
            try prefix.withRawBytes { prefix throws(VMSyncError) in
                _ = try append(bytes, prefix: prefix.isEmpty ? nil : prefix, to: &frame)
            }
        }
        return frame
    }

    /// Bytes of the context and of the room for frames.
    var memory: Int { ZSTD_sizeof_CCtx(context) + frame.count }

    /// Begins anew if it holds more than `bytes`.
    func giveBack(above bytes: Int) {
        guard memory > bytes else { return }
        ZSTD_freeCCtx(context)
        context = Self.makeContext()
        frame.deallocate()
        frame = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    }

    private func makeRoom(for bytes: Int) {
        guard frame.count < bytes else { return }
        frame.deallocate()
        frame = .allocate(byteCount: bytes, alignment: 64)
    }

    /// The window covers everything: the fast levels' own is a quarter of a section.
    private func setWindow(for bytes: Int, long: Bool) {
        let log = Int32(Int.bitWidth - max(bytes, 1 << 10).leadingZeroBitCount)
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, min(log, Self.windowLogMax))
        ZSTD_CCtx_setParameter(context, ZSTD_c_enableLongDistanceMatching, long ? 1 : 0)
    }
}

/// Decompresses sections into memory of the caller, whose size bounds what a frame may expand to.
package final class ZstdDecompressor {
    /// How a frame of the format of RFC 8878 begins, and no other.
    private static let magic: [UInt8] = [0x28, 0xB5, 0x2F, 0xFD]

    private let context: OpaquePointer

    package init() {
        guard let context = ZSTD_createDCtx() else { preconditionFailure("no memory for a zstd context") }
        self.context = context
        ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 28)
    }

    deinit { ZSTD_freeDCtx(context) }

    /// How many bytes the one frame in `frame` says that it holds.
    /// - Throws: `corrupt` if it doesn't say, or more than `limit`.
    package func contentSize(_ frame: UnsafeRawBufferPointer, limit: Int) throws(VMSyncError) -> Int {
        let size = ZSTD_getFrameContentSize(frame.baseAddress, frame.count)
        // The two highest numbers stand for "unknown" and "no frame".
        guard size <= UInt64(limit) else { throw VMSyncError(.corrupt, "a frame doesn't say its size, or too much") }
        return Int(size)
    }

    /// What the one frame in `frame` holds.
    /// - Throws: `corrupt` if it is damaged, or holds more than `limit` bytes.
    package func bytes(of frame: [UInt8], limit: Int) throws(VMSyncError) -> [UInt8] {
        try frame.withRawBytes { frame throws(VMSyncError) in
            var bytes = [UInt8](repeating: 0, count: try contentSize(frame, limit: limit))
            try bytes.withMutableRawBytes { output throws(VMSyncError) in try decompress(frame, into: output) }
            return bytes
        }
    }

    /// Fills `output` exactly from the one frame in `frame`.
    /// - Throws: `corrupt` if it isn't one frame, is damaged, or holds more or less than `output.count` bytes.
    package func decompress(
        _ frame: UnsafeRawBufferPointer, prefix: UnsafeRawBufferPointer? = nil,
        into output: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) {
        // zstd itself takes several frames in a row, skips those that hold nothing, and knows formats from before 1.0.
        guard frame.starts(with: Self.magic),
            ZSTD_findFrameCompressedSize(frame.baseAddress, frame.count) == frame.count
        else {
            throw VMSyncError(.corrupt, "a section isn't one zstd frame")
        }
        ZSTD_DCtx_reset(context, ZSTD_reset_session_only)
        if let prefix { ZSTD_DCtx_refPrefix(context, prefix.baseAddress, prefix.count) }
        let length = ZSTD_decompressDCtx(
            context, output.baseAddress, output.count, frame.baseAddress, frame.count)
        if ZSTD_isError(length) != 0 {
            throw VMSyncError(.corrupt, "a section doesn't decompress: \(String(cString: ZSTD_getErrorName(length)))")
        }
        guard length == output.count else {
            throw VMSyncError(.corrupt, "a section holds \(length) bytes and promised \(output.count)")
        }
    }
}
