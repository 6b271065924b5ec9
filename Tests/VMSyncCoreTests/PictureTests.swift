import Testing
import VMSyncCore

/// Pictures: what QEMU writes is read, made small, and written for others.
struct PictureTests {
    /// Of 2 × 2 pixels: red, green, blue, white.
    private static let four = [255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255] as [UInt8]

    @Test func readsWhatQEMUWrites() throws {
        let picture = try Picture(portablePixmap: Array("P6\n2 2\n255\n".utf8) + Self.four)
        #expect(picture.width == 2 && picture.height == 2 && picture.pixels == Self.four)
        // White space among the pixels is a pixel's.
        let spaces = [UInt8](repeating: 0x0A, count: 3)
        #expect(try Picture(portablePixmap: Array("P6 1 1 255 ".utf8) + spaces).pixels == spaces)
    }

    @Test(arguments: [
        "", "P6", "P6\n2 2\n255\n", "P5\n2 2\n255\n............", "P6\n2 2\n65535\n............",
        "P6\n-2 -2\n255\n............",
        "P6\n0 2\n255\n", "P6\n4 1\n255\n...........", "P6\n4 1\n255\n.............",
        "P6\n9223372036854775807 4\n255\n....",
        "P6\n# made by\n4 1\n255\n............",
    ]) func refusesWhatIsNone(text: String) {
        #expect(throws: VMSyncError.self) { try Picture(portablePixmap: Array(text.utf8)) }
    }

    @Test func isMadeSmallAndKeepsItsShape() throws {
        let picture = try Picture(width: 2, height: 2, pixels: Self.four)
        #expect(picture.fitted(width: 2, height: 2) == picture && picture.fitted(width: 160, height: 120) == picture)
        // The mean of all four; half of each color, for two have it.
        #expect(picture.fitted(width: 1, height: 1).pixels == [127, 127, 127])
        for (width, height, fitted) in [(720, 400, (160, 89)), (1024, 768, (160, 120)), (1, 9000, (1, 120))] {
            let pixels = (0..<width * height).flatMap { number -> [UInt8] in
                [UInt8(number / width * 255 / height), 7, 200]
            }
            let small = try Picture(width: width, height: height, pixels: pixels).fitted(width: 160, height: 120)
            #expect((small.width, small.height) == fitted)
            #expect(small.pixels.count == small.width * small.height * 3)
            for row in 0..<small.height {
                let place = row * small.width * 3
                let expected = (row * 255 + 127) / small.height
                #expect(
                    abs(Int(small.pixels[place]) - expected) <= 2 && small.pixels[place + 1...place + 2] == [7, 200])
            }
        }
    }

    @Test func aPNGFileIsWhatOthersRead() throws {
        // The same made with zlib, by Python.
        let expected =
            "89504e470d0a1a0a0000000d4948445200000002000000020802000000fdd49a7300000019494441547801010e00f1ff"
            + "00ff000000ff00000000ffffffff1fee05fbdeddec2b0000000049454e44ae426082"
        let picture = try Picture(width: 2, height: 2, pixels: Self.four)
        #expect(picture.png.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined() == expected)
    }

    @Test("a picture of more than one block is whole") func severalBlocks() throws {
        let pixels = (0..<160 * 140 * 3).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let file = try Picture(width: 160, height: 140, pixels: pixels).png
        // Signature, header, the head of the data chunk, that of the stream; then blocks, each with five bytes before it.
        var (place, rows, isLast) = (8 + 25 + 8 + 2, [UInt8](), false)
        while !isLast {
            isLast = file[place] == 1
            let length = Int(file[place + 1]) | Int(file[place + 2]) << 8
            #expect(length == Int(~file[place + 3]) | Int(~file[place + 4]) << 8)
            rows += file[place + 5..<place + 5 + length]
            place += 5 + length
        }
        #expect(rows.count == 140 * (1 + 160 * 3) && file.count == place + 4 + 4 + 12)
        let unfiltered = stride(from: 0, to: rows.count, by: 481).flatMap { rows[$0 + 1..<$0 + 481] }
        #expect(unfiltered == pixels)
    }
}
