import Testing
import VMSyncCheckpoint
import VMSyncTestSupport

@Suite("Pixels")
struct PixelsTests {
    private func stored(_ page: [UInt8], behind output: [UInt8] = []) -> [UInt8] {
        var output = output
        page.withUnsafeBytes { Pixels.append($0, to: &output) }
        return output
    }

    private func restored(_ stored: [UInt8]) -> [UInt8] {
        var page = [UInt8](repeating: 0xEE, count: Unit.size)
        stored.withUnsafeBytes { stored in page.withUnsafeMutableBytes { Pixels.restore(stored, to: $0) } }
        return page
    }

    @Test("are stored as the difference to the pixel before, byte by byte")
    func byHand() {
        let page: [UInt8] = [10, 20, 30, 255, 11, 19, 30, 0, 11, 19, 30, 0]
        let differences: [UInt8] = [10, 20, 30, 255, 1, 255, 0, 1, 0, 0, 0, 0]
        // The page ends as a picture of one colour, so its differences end in zeros.
        let rest = (page.count..<Unit.size).map { page[8 + $0 % 4] }
        let zeros = [UInt8](repeating: 0, count: rest.count)
        #expect(stored(page + rest) == differences + zeros)
        #expect(restored(differences + zeros) == page + rest)
    }

    /// One page for each distance: each byte that may stand before, in each of the four bytes of a pixel.
    @Test("every byte after every other, in each of the four bytes of a pixel", arguments: 0..<256)
    func allPairs(distance: Int) {
        let page = (0..<Unit.size).map { UInt8(truncatingIfNeeded: $0 / 8 + ($0 % 8 < 4 ? 0 : distance)) }
        let differences = page.indices.map { $0 < 4 ? page[$0] : page[$0] &- page[$0 - 4] }
        #expect(stored(page) == differences)
        #expect(restored(differences) == page)
    }

    @Test("any page comes back, and what stood before it stays")
    func roundTrip() {
        var random = SeededRandom(seed: 5)
        for length in 0..<100 {
            let before = random.bytes(length)
            let page = random.bytes(Unit.size)
            let output = stored(page, behind: before)
            #expect(Array(output.prefix(length)) == before)
            #expect(restored(Array(output.dropFirst(length))) == page)
        }
    }
}
