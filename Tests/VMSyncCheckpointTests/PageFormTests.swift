import Testing
import VMSyncCheckpoint
import VMSyncTestSupport

@Suite("Forms of a page")
struct PageFormTests {
    /// How far back the byte stands that is subtracted, by the document.
    private static let steps: [(PageForm, Int)] = [(.pixels, 4), (.samples, 1)]

    private func stored(_ page: [UInt8], as form: PageForm, behind output: [UInt8] = []) -> [UInt8] {
        var output = output
        page.withUnsafeBytes { form.append($0, to: &output) }
        return output
    }

    private func restored(_ stored: [UInt8], from form: PageForm) -> [UInt8] {
        var page = [UInt8](repeating: 0xEE, count: Unit.size)
        return stored.withUnsafeBytes { stored in
            page.withUnsafeMutableBytes { Array(form.restore(stored, to: $0)) }
        }
    }

    /// `start`, then its last four bytes until the page is full.
    private func page(_ start: [UInt8]) -> [UInt8] {
        start + (start.count..<Unit.size).map { start[start.count - 4 + $0 % 4] }
    }

    private func withZeros(_ start: [UInt8]) -> [UInt8] {
        start + [UInt8](repeating: 0, count: Unit.size - start.count)
    }

    @Test("pixels are the difference to the pixel before, byte by byte")
    func pixelsByHand() {
        let page = page([10, 20, 30, 255, 11, 19, 30, 0, 11, 19, 30, 0])
        let differences = withZeros([10, 20, 30, 255, 1, 255, 0, 1])
        #expect(stored(page, as: .pixels) == differences)
        #expect(restored(differences, from: .pixels) == page)
    }

    @Test("samples are the difference to the byte before")
    func samplesByHand() {
        let page = page([10, 12, 11, 255, 0, 0, 0, 0])
        let differences = withZeros([10, 2, 255, 244, 1])
        #expect(stored(page, as: .samples) == differences)
        #expect(restored(differences, from: .samples) == page)
    }

    @Test("a plain page is stored as it is")
    func plain() {
        var random = SeededRandom(seed: 4)
        let page = random.bytes(Unit.size)
        #expect(stored(page, as: .plain) == page)
        #expect(restored(page, from: .plain) == page)
    }

    /// One page for each distance: each byte that may stand before, in each of the four bytes of a pixel.
    @Test("every byte after every other", arguments: 0..<256)
    func allPairs(distance: Int) {
        for (form, step) in Self.steps {
            let page = (0..<Unit.size).map { index in
                let (pair, isFirst) = (index / (2 * step), index % (2 * step) < step)
                return UInt8(truncatingIfNeeded: isFirst ? pair : pair + distance)
            }
            let differences = page.indices.map { $0 < step ? page[$0] : page[$0] &- page[$0 - step] }
            #expect(stored(page, as: form) == differences)
            #expect(restored(differences, from: form) == page)
        }
    }

    @Test("any page comes back, and what stood before it stays", arguments: PageForm.allCases)
    func roundTrip(form: PageForm) {
        var random = SeededRandom(seed: 5)
        for length in 0..<100 {
            let before = random.bytes(length)
            let page = random.bytes(Unit.size)
            let output = stored(page, as: form, behind: before)
            #expect(output.count == length + Unit.size)
            #expect(Array(output.prefix(length)) == before)
            #expect(restored(Array(output.dropFirst(length)), from: form) == page)
        }
    }
}
