import Testing
import VMSyncCheckpoint
import VMSyncCore

/// The bytes of thumbnails. (docs/protocol/history.md, "Thumbnails")
struct ThumbnailTests {
    private static func picture(_ width: Int, _ height: Int) throws -> Picture {
        try Picture(
            width: width, height: height, pixels: (0..<width * height * 3).map { UInt8(truncatingIfNeeded: $0 / 7) })
    }

    @Test(arguments: [(1, 1), (160, 120), (3, 120), (160, 1)]) func comesBack(width: Int, height: Int) throws {
        let picture = try Self.picture(width, height)
        let bytes = try Thumbnail.encode(picture)
        #expect(bytes.prefix(5) == [1, UInt8(width), 0, UInt8(height), 0])
        #expect(try Thumbnail.decode(bytes) == picture)
    }

    @Test("a larger one is made small, and noise stays within what a server takes") func larger() throws {
        let small = try Thumbnail.decode(try Thumbnail.encode(try Self.picture(1024, 768)))
        #expect(small.width == 160 && small.height == 120)
        var random = SystemRandomNumberGenerator()
        let noise = (0..<160 * 120 * 3).map { _ in UInt8.random(in: 0...255, using: &random) }
        #expect(try Thumbnail.encode(try Picture(width: 160, height: 120, pixels: noise)).count < 58_000)
    }

    @Test func refusesWhatIsNone() throws {
        let good = try Thumbnail.encode(try Self.picture(160, 120))
        for length in 0..<good.count {
            #expect(throws: VMSyncError.self) { try Thumbnail.decode(Array(good[..<length])) }
        }
        func changed(_ place: Int, _ value: UInt8) -> [UInt8] {
            var bytes = good
            bytes[place] = value
            return bytes
        }
        #expect { try Thumbnail.decode(changed(0, 2)) } throws: { ($0 as? VMSyncError)?.code == .incompatible }
        for bad in [
            changed(1, 161), changed(1, 0), changed(1, 159), changed(2, 1), changed(3, 0), changed(3, 121), good + [0],
        ] {
            #expect { try Thumbnail.decode(bad) } throws: { ($0 as? VMSyncError)?.code == .corrupt }
        }
    }
}
