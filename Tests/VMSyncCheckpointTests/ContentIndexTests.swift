import Testing
import VMSyncCheckpoint
import VMSyncTestSupport

@Suite("Content index")
struct ContentIndexTests {
    private static let ways = 4

    /// Runs `body` with an empty index for `units` units.
    private func with(units: Int, _ body: (ContentIndex) -> Void) {
        let entries = UnsafeMutableBufferPointer<UInt64>.allocate(capacity: ContentIndex.entryCount(forUnits: units))
        defer { entries.deallocate() }
        entries.initialize(repeating: 0)
        body(ContentIndex(entries))
    }

    private func hashes(_ count: Int, _ random: inout SeededRandom) -> [Hash128] {
        (0..<count).map { _ in Hash128(value: UInt128(random.next()) << 64 | UInt128(random.next())) }
    }

    /// A hash that falls into the first bucket, whatever the size, under `tag`.
    private func hash(tag: UInt64) -> Hash128 { Hash128(value: UInt128(tag) << 104) }

    @Test(
        "finds nineteen of twenty contents when it is as full as it is meant to be", arguments: [1, 100, 4096, 65_536])
    func finds(units: Int) {
        var random = SeededRandom(seed: UInt64(units))
        let contents = hashes(units, &random)
        with(units: units) { index in
            for (location, content) in contents.enumerated() { index.insert(content, at: location) }
            let found = contents.indices.filter { location in
                index.find(contents[location]) { $0 == location } == location
            }
            #expect(found.count * 20 >= units * 19, "\(found.count) of \(units)")
        }
    }

    @Test("proposes nothing but what was put there, and gives nothing that isn't confirmed")
    func proposals() {
        var random = SeededRandom(seed: 1)
        let contents = hashes(1000, &random)
        let strangers = hashes(1000, &random)
        with(units: 500) { index in
            for (location, content) in contents.enumerated() { index.insert(content, at: location) }
            for content in contents + strangers {
                var proposed: [Int] = []
                let found = index.find(content) { location in
                    proposed.append(location)
                    return false
                }
                #expect(found == nil)
                #expect(proposed.allSatisfy(contents.indices.contains))
                #expect(Set(proposed).count == proposed.count)
            }
            for stranger in strangers { #expect(index.find(stranger) { contents[$0] == stranger } == nil) }
        }
    }

    @Test("an empty one proposes nothing, whatever the hash")
    func empty() {
        var random = SeededRandom(seed: 2)
        with(units: 100) { index in
            for content in hashes(1000, &random) + [.zero, hash(tag: 0), hash(tag: 1)] {
                #expect(index.find(content) { _ in true } == nil)
            }
        }
    }

    @Test("a content that is put again is where it was put last, and takes no second entry")
    func again() {
        with(units: 1) { index in
            for location in 0..<100 { index.insert(hash(tag: 1), at: location) }
            for tag in 2...4 { index.insert(hash(tag: UInt64(tag)), at: tag) }
            #expect(index.find(hash(tag: 1)) { _ in true } == 99)
            for tag in 2...4 { #expect(index.find(hash(tag: UInt64(tag))) { _ in true } == tag) }
        }
    }

    @Test("a full bucket forgets one content for each that comes")
    func forgets() {
        with(units: 1) { index in
            let tags = 1...Self.ways + 1
            for tag in tags { index.insert(hash(tag: UInt64(tag)), at: tag) }
            let found = tags.filter { tag in index.find(hash(tag: UInt64(tag))) { _ in true } == tag }
            #expect(found.count == Self.ways)
            #expect(found.last == tags.last)
        }
    }

    @Test("two contents under one tag are told apart by whoever asks")
    func sameTag() {
        let (first, second) = (hash(tag: 5), Hash128(value: hash(tag: 5).value | 1 << 64))
        with(units: 1) { index in
            index.insert(first, at: 10)
            #expect(index.find(second) { _ in true } == 10)
            #expect(index.find(second) { $0 != 10 } == nil)
            index.insert(second, at: 11)
            #expect(index.find(first) { $0 == 10 } == nil)
            #expect(index.find(second) { $0 == 11 } == 11)
        }
    }

    @Test("holds locations up to the largest")
    func largest() {
        let largest = 1 << 40 - 2
        with(units: 1) { index in
            index.insert(hash(tag: 0xFF_FFFF), at: largest)
            index.insert(hash(tag: 0), at: 0)
            #expect(index.find(hash(tag: 0xFF_FFFF)) { _ in true } == largest)
            #expect(index.find(hash(tag: 0)) { _ in true } == 0)
        }
    }
}
