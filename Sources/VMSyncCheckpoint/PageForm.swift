/// How the bytes of a whole unit are stored (docs/format/checkpoint.md, sources 1, 2 and 9): as they are, or each as its
/// difference to the byte `step` before it. Where neighbours resemble each other, as in a picture, the differences are
/// small numbers, which zstd packs better than the values. It is the *Sub* filter of PNG (ISO/IEC 15948, 9.2) over a
/// unit.
package enum PageForm: CaseIterable, Sendable {
    case plain
    /// Four bytes a pixel, as most displays have.
    case pixels
    /// One byte a sample, as the planes of a film's picture have.
    case samples

    var code: SourceCode {
        switch self {
        case .plain: .whole
        case .pixels: .pixels
        case .samples: .samples
        }
    }

    /// How far back the byte stands that is subtracted; nil if none is.
    package var step: Int? {
        switch self {
        case .plain: nil
        case .pixels: 4
        case .samples: 1
        }
    }

    /// Bytes that are subtracted at once.
    private static let lanes = 32

    /// Appends the stored form of `page` to `output`.
    package func append(_ page: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        let start = output.count
        output.append(contentsOf: page)
        guard let step else { return }
        output.withUnsafeMutableBytes { output in
            let stored = UnsafeMutableRawBufferPointer(rebasing: output[start...])
            var offset = step
            while offset + Self.lanes <= page.count {
                let values = page.loadUnaligned(fromByteOffset: offset, as: SIMD32<UInt8>.self)
                let before = page.loadUnaligned(fromByteOffset: offset - step, as: SIMD32<UInt8>.self)
                stored.storeBytes(of: values &- before, toByteOffset: offset, as: SIMD32<UInt8>.self)
                offset += Self.lanes
            }
            while offset < page.count {
                stored[offset] = page[offset] &- page[offset - step]
                offset += 1
            }
        }
    }

    /// The page whose stored form is `stored`: in place, or put into `page`.
    package func restore(
        _ stored: UnsafeRawBufferPointer, to page: UnsafeMutableRawBufferPointer
    ) -> UnsafeRawBufferPointer {
        switch self {
        case .plain:
            return stored
        case .pixels:
            var pixel = SIMD4<UInt8>.zero
            for offset in stride(from: 0, to: stored.count, by: 4) {
                pixel &+= stored.loadUnaligned(fromByteOffset: offset, as: SIMD4<UInt8>.self)
                page.storeBytes(of: pixel, toByteOffset: offset, as: SIMD4<UInt8>.self)
            }
        case .samples:
            var sample: UInt8 = 0
            for offset in 0..<stored.count {
                sample &+= stored[offset]
                page[offset] = sample
            }
        }
        return UnsafeRawBufferPointer(rebasing: page[..<stored.count])
    }
}
