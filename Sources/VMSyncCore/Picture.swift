/// A picture of a screen.
package struct Picture: Sendable, Hashable {
    /// 1 to 16,384.
    package let width: Int
    package let height: Int
    /// Rows from the top, pixels from the left; red, green and blue from 0 to 255.
    package let pixels: [UInt8]

    /// No screen is larger.
    private static let sideMax = 16_384

    /// - Throws: `corrupt` unless there are just as many pixels.
    package init(width: Int, height: Int, pixels: [UInt8]) throws(VMSyncError) {
        guard 1...Self.sideMax ~= width, 1...Self.sideMax ~= height, pixels.count == width * height * 3 else {
            throw VMSyncError(.corrupt, "a picture of \(width) × \(height) pixels doesn't have \(pixels.count) bytes")
        }
        self.width = width
        self.height = height
        self.pixels = pixels
    }

    /// Reads a portable pixmap: "P6", width, height and the largest value, 255, each followed by white space, and the pixels.
    /// - Throws: `corrupt` if it is something else.
    package init(portablePixmap bytes: [UInt8]) throws(VMSyncError) {
        // Four words, and not one byte more.
        let fields = bytes.prefix(64).split(maxSplits: 4, omittingEmptySubsequences: false) { $0 == 0x20 || $0 == 0x0A }
        let words = fields.prefix(4).map { String(decoding: $0, as: UTF8.self) }
        guard fields.count == 5, words[0] == "P6", words[3] == "255", let width = Int(words[1]),
            let height = Int(words[2])
        else { throw VMSyncError(.corrupt, "this is no portable pixmap of 8 bits a color") }
        try self.init(width: width, height: height, pixels: Array(bytes[fields[4].startIndex...]))
    }

    /// The same, so small that it is at most so wide and so high; it isn't made larger.
    package func fitted(width widthMax: Int, height heightMax: Int) -> Picture {
        let scale = min(1, Double(widthMax) / Double(width), Double(heightMax) / Double(height))
        guard scale < 1 else { return self }
        return scaled(
            width: max(1, Int((Double(width) * scale).rounded())),
            height: max(1, Int((Double(height) * scale).rounded())))
    }

    /// Each pixel is the mean of those whose place it takes.
    private func scaled(width newWidth: Int, height newHeight: Int) -> Picture {
        var scaled: [UInt8] = []
        scaled.reserveCapacity(newWidth * newHeight * 3)
        for row in 0..<newHeight {
            let rows = Self.part(row, of: newHeight, in: height)
            for column in 0..<newWidth {
                let columns = Self.part(column, of: newWidth, in: width)
                var (red, green, blue) = (0, 0, 0)
                for y in rows {
                    for x in columns {
                        let place = (y * width + x) * 3
                        red += Int(pixels[place])
                        green += Int(pixels[place + 1])
                        blue += Int(pixels[place + 2])
                    }
                }
                let count = rows.count * columns.count
                scaled += [UInt8(red / count), UInt8(green / count), UInt8(blue / count)]
            }
        }
        return Picture(whole: newWidth, newHeight, scaled)
    }

    private static func part(_ number: Int, of count: Int, in length: Int) -> Range<Int> {
        number * length / count..<max(number * length / count + 1, (number + 1) * length / count)
    }

    private init(whole width: Int, _ height: Int, _ pixels: [UInt8]) {
        self.width = width
        self.height = height
        self.pixels = pixels
    }
}
