/// A picture of a screen: three bytes a pixel (red, green, blue), row by row from the top.
package struct RFBImage: Sendable, Equatable {
    package let width: Int
    package let height: Int
    package private(set) var rgb: [UInt8]

    /// A black picture.
    package init(width: Int, height: Int) {
        self.width = width
        self.height = height
        rgb = [UInt8](repeating: 0, count: width * height * 3)
    }

    /// The colour at a place inside the picture.
    package subscript(x: Int, y: Int) -> (red: UInt8, green: UInt8, blue: UInt8) {
        let offset = (y * width + x) * 3
        return (rgb[offset], rgb[offset + 1], rgb[offset + 2])
    }

    /// Puts a row of pixels, as they come over the wire (blue, green, red, unused), at a place inside the picture.
    mutating func put(_ row: some Collection<UInt8>, x: Int, y: Int) {
        var target = (y * width + x) * 3
        var bytes = row.makeIterator()
        while let blue = bytes.next(), let green = bytes.next(), let red = bytes.next() {
            _ = bytes.next()
            (rgb[target], rgb[target + 1], rgb[target + 2]) = (red, green, blue)
            target += 3
        }
    }

    /// How many pixels differ from those of `other`; all, if the sizes do.
    package func pixelsDifferent(from other: RFBImage) -> Int {
        guard width == other.width, height == other.height else { return width * height }
        return stride(from: 0, to: rgb.count, by: 3).count { offset in
            rgb[offset..<offset + 3] != other.rgb[offset..<offset + 3]
        }
    }

    /// How many colours it has, each channel cut to its upper four bits: a blank screen has one, a photograph hundreds.
    package var colours: Int {
        var seen = Set<Int>()
        for offset in stride(from: 0, to: rgb.count, by: 3) {
            let (red, green, blue) = (Int(rgb[offset] >> 4), Int(rgb[offset + 1] >> 4), Int(rgb[offset + 2] >> 4))
            seen.insert(red << 8 | green << 4 | blue)
        }
        return seen.count
    }

    /// The bytes of a PPM file (P6), which every image viewer opens.
    package var ppm: [UInt8] { Array("P6\n\(width) \(height)\n255\n".utf8) + rgb }
}
