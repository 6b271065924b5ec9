import NIOCore

/// Cuts the bytes of a connection into lines. No byte is looked at twice, however slowly a line comes.
struct LineSplitter {
    private var buffer = ByteBuffer()
    /// How many of the readable bytes are known to hold no line end.
    private var scanned = 0

    mutating func append(_ bytes: ByteBuffer) {
        if buffer.readableBytes == 0 {
            buffer = bytes
        } else {
            buffer.discardReadBytes()
            buffer.writeImmutableBuffer(bytes)
        }
    }

    /// The next whole line without its `\n`; nil if it hasn't ended yet.
    /// - Throws: `tooLong` as soon as the line can only be longer than `QMPLimits.lineBytesMax`.
    mutating func next() throws(QMPError) -> ByteBuffer? {
        let unseen = buffer.readableBytesView.dropFirst(scanned)
        guard let end = unseen.firstIndex(of: UInt8(ascii: "\n")) else {
            scanned = buffer.readableBytes
            if scanned > QMPLimits.lineBytesMax { throw .tooLong }
            return nil
        }
        let length = end - buffer.readerIndex
        if length > QMPLimits.lineBytesMax { throw .tooLong }
        let line = buffer.readSlice(length: length)
        buffer.moveReaderIndex(forwardBy: 1)
        scanned = 0
        return line
    }
}
