import Testing
import VMSyncCheckpoint
import VMSyncTestSupport

@Suite("Runs")
struct RunsTests {
    /// What an encoder found, copied.
    private struct Found {
        /// Bytes in a section.
        var length: Int
        var runs: [UnpackedPack.Run]

        func apply(to unit: [UInt8]) -> [UInt8] {
            runs.reduce(into: unit) { $0.replaceSubrange($1.position..<$1.position + $1.bytes.count, with: $1.bytes) }
        }
    }

    /// The runs from `old` to `new`; nil if there are none or too many.
    private func find(from old: [UInt8], to new: [UInt8]) -> Found? {
        var encoder = RunEncoder()
        let length = old.withUnsafeBytes { old in new.withUnsafeBytes { encoder.find(from: old, to: $0) } }
        guard let length else { return nil }
        var found = Found(length: length, runs: [])
        encoder.runs.forEach { found.runs.append(.init($0, Array($1))) }
        #expect(found.runs.count == encoder.count)
        #expect(length == encoder.runs.places.count + encoder.runs.bytes.count)
        var page = old
        page.withUnsafeMutableBytes { encoder.runs.apply(to: $0) }
        #expect(page == new)
        return found
    }

    private func page(_ random: inout SeededRandom, changing old: [UInt8]) -> [UInt8] {
        var new = old
        for _ in 0..<random.number(1..<60) {
            let start = random.number(0..<Unit.size)
            let end = min(Unit.size, start + random.number(1..<(random.oneIn(8) ? 2000 : 20)))
            for index in start..<end where !random.oneIn(5) { new[index] = UInt8(truncatingIfNeeded: random.next()) }
        }
        return new
    }

    @Test("make the new page of the old one, once or twice applied", arguments: 0..<8)
    func roundTrip(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var encoded = 0
        for _ in 0..<250 {
            let old = random.bytes(Unit.size)
            let new = page(&random, changing: old)
            guard let found = find(from: old, to: new) else { continue }
            encoded += 1
            #expect(found.length <= RunEncoder.bytesMax)
            #expect(found.apply(to: old) == new)
            #expect(found.apply(to: new) == new)
        }
        #expect(encoded > 50)
    }

    @Test("a page that was interrupted anywhere comes out right when the runs are applied again")
    func interrupted() {
        var random = SeededRandom(seed: 7)
        var encoded = 0
        for _ in 0..<100 {
            let old = random.bytes(Unit.size)
            let new = page(&random, changing: old)
            guard let found = find(from: old, to: new) else { continue }
            encoded += 1
            let torn = random.number(0..<Unit.size)
            #expect(found.apply(to: Array(new.prefix(torn) + old.dropFirst(torn))) == new)
        }
        #expect(encoded > 20)
    }

    @Test("rise, stay apart, and begin and end with a byte that changed")
    func tight() {
        var random = SeededRandom(seed: 9)
        for _ in 0..<200 {
            let old = random.bytes(Unit.size)
            let new = page(&random, changing: old)
            guard let found = find(from: old, to: new) else { continue }
            var end = -1
            for run in found.runs {
                let last = run.position + run.bytes.count - 1
                #expect(run.position > end)
                #expect(old[run.position] != new[run.position] && old[last] != new[last])
                end = last + 1
            }
        }
    }

    @Test("there are none between equal pages")
    func equal() {
        let page = [UInt8](repeating: 3, count: Unit.size)
        #expect(find(from: page, to: page) == nil)
    }

    @Test("find a single byte anywhere in the page")
    func singleBytes() {
        let old = [UInt8](repeating: 0x5A, count: Unit.size)
        for index in 0..<Unit.size {
            var new = old
            new[index] ^= 0x10
            #expect(find(from: old, to: new)?.runs == [.init(index, [0x4A])])
        }
    }

    @Test("go on over a few equal bytes, and not over many")
    func bridges() {
        let old = [UInt8](repeating: 0, count: Unit.size)
        var new = old
        new[800] = 1
        new[812] = 1
        #expect(find(from: old, to: new)?.runs == [.init(800, Array(new[800...812]))])
        new = old
        new[800] = 1
        new[1000] = 1
        #expect(find(from: old, to: new)?.runs == [.init(800, [1]), .init(1000, [1])])
    }

    @Test("are given up when they are longer than three quarters of the page")
    func tooLong() {
        var random = SeededRandom(seed: 1)
        let old = random.bytes(Unit.size)
        #expect(find(from: old, to: random.bytes(Unit.size)) == nil)
        for changed in [RunEncoder.bytesMax - 4, RunEncoder.bytesMax - 3] {
            var new = old
            for index in 0..<changed { new[index] ^= 0xFF }
            #expect((find(from: old, to: new) == nil) == (changed + 4 > RunEncoder.bytesMax))
        }
    }

    @Test("as many as a page can have still fit what is kept for them")
    func many() {
        let old = [UInt8](repeating: 0, count: Unit.size)
        var new = old
        for index in stride(from: 0, to: Unit.size, by: 24) { new[index] = 1 }
        let found = find(from: old, to: new)
        #expect(found?.runs.count == (Unit.size + 23) / 24)
        #expect(found?.apply(to: old) == new)
    }
}
