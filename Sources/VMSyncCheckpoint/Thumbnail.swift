import VMSyncCore

/// The bytes of a small picture that goes with a checkpoint. (docs/protocol/history.md, "Thumbnails")
package enum Thumbnail {
    package static let widthMax = 160
    package static let heightMax = 120

    private static let version: UInt8 = 1
    /// Version, width and height.
    private static let headerBytes = 5
    /// It is made once a minute.
    private static let level: Int32 = 12

    /// - Parameter screen: of any size.
    package static func encode(_ screen: Picture) throws(VMSyncError) -> [UInt8] {
        let small = screen.fitted(width: widthMax, height: heightMax)
        var bytes = [version]
        for side in [small.width, small.height] { bytes += [UInt8(side & 0xFF), UInt8(side >> 8)] }
        return bytes + (try ZstdCompressor(level: level).frame(of: small.pixels))
    }

    /// - Throws: `corrupt`, or `incompatible` if a newer vmsync has made it.
    package static func decode(_ bytes: [UInt8]) throws(VMSyncError) -> Picture {
        guard bytes.count >= headerBytes else { throw VMSyncError(.corrupt, "a thumbnail of \(bytes.count) bytes") }
        guard bytes[0] == version else {
            throw VMSyncError(
                .incompatible, "a thumbnail of version \(bytes[0])", hint: "install the newer vmsync here")
        }
        let (width, height) = (Int(bytes[1]) | Int(bytes[2]) << 8, Int(bytes[3]) | Int(bytes[4]) << 8)
        guard 1...widthMax ~= width, 1...heightMax ~= height else {
            throw VMSyncError(.corrupt, "a thumbnail of \(width) × \(height) pixels")
        }
        var pixels = [UInt8](repeating: 0, count: width * height * 3)
        try bytes.withRawBytes { bytes throws(VMSyncError) in
            let frame = UnsafeRawBufferPointer(rebasing: bytes[headerBytes...])
            try pixels.withMutableRawBytes { pixels throws(VMSyncError) in
                try ZstdDecompressor().decompress(frame, into: pixels)
            }
        }
        return try Picture(width: width, height: height, pixels: pixels)
    }
}
