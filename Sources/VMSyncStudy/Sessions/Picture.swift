/// The bytes of a picture that is like a photograph in what matters here: soft areas of colour with detail and grain, so
/// that it compresses badly, and the same for the same seed.
struct Picture {
    /// Bitmaps of 24 bits, for there is nothing to encode; the page's bytes on the wire are noise already.
    static func bitmap(width: Int, height: Int, random: inout SessionRandom) -> [UInt8] {
        let stride = (width * 3 + 3) / 4 * 4
        var bytes = header(width: width, height: height, pixels: stride * height)
        bytes.reserveCapacity(bytes.count + stride * height)
        let hills = (0..<6).map { _ in Hill(width: width, height: height, random: &random) }
        for y in 0..<height {
            for x in 0..<width { add(colourAt: x, y, hills, grain: random.next(), to: &bytes) }
            bytes += [UInt8](repeating: 0, count: stride - width * 3)
        }
        return bytes
    }

    /// A soft area of one colour.
    private struct Hill {
        let x, y, reach: Int
        let colour: (Int, Int, Int)

        init(width: Int, height: Int, random: inout SessionRandom) {
            x = random.number(0...width)
            y = random.number(0...height)
            reach = random.number(width * height / 16...width * height / 2)
            colour = (random.number(0...255), random.number(0...255), random.number(0...255))
        }

        /// How strong it is at a place, of 256.
        func weight(_ atX: Int, _ atY: Int) -> Int {
            let distance = (x - atX) * (x - atX) + (y - atY) * (y - atY)
            return 256 * reach / (reach + 4 * distance)
        }
    }

    private static func add(colourAt x: Int, _ y: Int, _ hills: [Hill], grain: UInt64, to bytes: inout [UInt8]) {
        var (red, green, blue, total) = (0, 0, 0, 1)
        for hill in hills {
            let weight = hill.weight(x, y)
            red += hill.colour.0 * weight
            green += hill.colour.1 * weight
            blue += hill.colour.2 * weight
            total += weight
        }
        // Detail: a pattern that is finer than the hills; grain: the lowest bits.
        let detail = (x &* x / 7 &+ y &* y / 5) & 31
        func channel(_ sum: Int, _ bits: UInt64) -> UInt8 {
            UInt8(clamping: sum / total + detail - 16 + Int(bits & 15) - 8)
        }
        bytes.append(channel(blue, grain))
        bytes.append(channel(green, grain >> 8))
        bytes.append(channel(red, grain >> 16))
    }

    /// The file's and the picture's header ("Bitmap Storage", BITMAPINFOHEADER), rows from the bottom to the top.
    private static func header(width: Int, height: Int, pixels: Int) -> [UInt8] {
        func little(_ value: Int, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(value >> (8 * $0) & 255) } }
        return Array("BM".utf8) + little(54 + pixels, 4) + little(0, 4) + little(54, 4) + little(40, 4)
            + little(width, 4) + little(height, 4) + little(1, 2) + little(24, 2) + little(0, 4) + little(pixels, 4)
            + little(2835, 4) + little(2835, 4) + little(0, 8)
    }
}
