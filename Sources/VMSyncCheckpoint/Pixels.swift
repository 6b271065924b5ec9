/// The stored form of a page that holds a picture: each group of four bytes, a pixel of most displays, as its difference
/// to the one before, byte by byte (docs/format/checkpoint.md, source 2). Neighbouring pixels resemble each other, so
/// the differences are small numbers, which zstd packs better than the colours. It is the *Sub* filter of PNG
/// (ISO/IEC 15948, 9.2) over a page.
package enum Pixels {
    private static let size = 4
    /// Bytes that are subtracted at once.
    private static let lanes = 32

    /// Appends the differences in `page` to `output`.
    package static func append(_ page: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        let start = output.count
        output.append(contentsOf: page)
        output.withUnsafeMutableBytes { output in
            let stored = UnsafeMutableRawBufferPointer(rebasing: output[start...])
            var offset = size
            while offset + lanes <= page.count {
                let pixels = page.loadUnaligned(fromByteOffset: offset, as: SIMD32<UInt8>.self)
                let before = page.loadUnaligned(fromByteOffset: offset - size, as: SIMD32<UInt8>.self)
                stored.storeBytes(of: pixels &- before, toByteOffset: offset, as: SIMD32<UInt8>.self)
                offset += lanes
            }
            while offset < page.count {
                stored[offset] = page[offset] &- page[offset - size]
                offset += 1
            }
        }
    }

    /// Puts the page whose differences are `stored` into `page`.
    package static func restore(_ stored: UnsafeRawBufferPointer, to page: UnsafeMutableRawBufferPointer) {
        var pixel = SIMD4<UInt8>.zero
        for offset in stride(from: 0, to: stored.count, by: size) {
            pixel &+= stored.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt8>.self)
            page.storeBytes(of: pixel, toByteOffset: offset, as: SIMD4<UInt8>.self)
        }
    }
}
