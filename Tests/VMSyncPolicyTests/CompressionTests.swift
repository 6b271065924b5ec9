import Testing
import VMSyncPolicy

@Suite("How strongly packs are compressed")
struct CompressionTests {
    /// A second of a film: 6 MB of records, 1.5 MB at level 1, at 500 MB/s.
    private let film = EncoderEstimate(
        nil, [.init(level: 1, raw: 6_000_000, stored: 1_500_000, seconds: 0.012)])

    /// A guest that idles: a few KB.
    private let idle = EncoderEstimate(nil, [.init(level: 1, raw: 8000, stored: 4500, seconds: 0.000_02)])

    private func level(
        _ link: Double?, _ encoder: EncoderEstimate?, bytes: Int = 0, interval: Double = 1, isAwaited: Bool = false
    ) -> Int32 {
        CompressionPlan(link: link, encoder: encoder, interval: interval, isAwaited: isAwaited)
            .level(forPackOf: bytes)
    }

    @Test("what isn't known yet is done fast")
    func unknown() {
        #expect(level(nil, film) == 1)
        #expect(level(1_000_000, nil) == 1)
        #expect(level(0, film) == 1)
    }

    @Test("a fast link never waits for zstd")
    func fast() {
        #expect(level(1e9, film, isAwaited: true) == 1)
        #expect(level(125e6, film, isAwaited: true) == 1)
        // With time to spare, but not with much of it.
        #expect(level(125e6, film) <= 3)
    }

    @Test("the slower the link, the stronger, up to the strongest")
    func slower() {
        let levels = [1e9, 12.5e6, 2.5e6, 1e6, 250e3, 47e3, 5e3].map { level($0, film) }
        #expect(levels == levels.sorted())
        #expect(levels.last == 19)
        #expect(levels.contains { $0 > 1 && $0 < 19 })
    }

    @Test("the few bytes of a guest that idles are packed strongly, unless somebody waits for them")
    func few() {
        #expect(level(125e6, idle) == 19)
        #expect(level(125e6, idle, isAwaited: true) == 1)
        #expect(level(125e6, idle, interval: 0.1) < 19)
    }

    @Test("a guest that begins to work isn't packed as the one that idled before")
    func surprise() {
        let levels = [8000, 30_000, 500_000, 2 << 20, 30 << 20].map { level(125e6, idle, bytes: $0) }
        #expect(levels.first == 19)
        #expect(levels == levels.sorted(by: >))
        #expect(levels.last == 1)
        // Over a slow link it takes no longer for that.
        #expect(level(50e3, idle, bytes: 2 << 20) == 19)
        // What was to be expected says more than how little the pack holds so far.
        #expect(level(125e6, film, bytes: 8000) == level(125e6, film))
    }

    @Test("a slow processor is not given more than its share of the interval")
    func share() {
        let slow = EncoderEstimate(nil, [.init(level: 1, raw: 6_000_000, stored: 1_500_000, seconds: 0.2)])
        #expect(level(12.5e6, slow) == 1)
        #expect(level(2.5e6, slow) < level(2.5e6, film))
        // More often, with as much each time: less time for each.
        #expect(level(12.5e6, film, interval: 0.1) <= level(12.5e6, film))
    }

    @Test("the estimate is as of level 1, whatever the level was, and follows what changes")
    func estimate() {
        let strong = EncoderEstimate(nil, [.init(level: 12, raw: 6_000_000, stored: 1_309_500, seconds: 0.1826)])
        #expect(abs(strong.bytesPerSecond / film.bytesPerSecond - 1) < 0.01)
        #expect(abs(strong.stored / film.stored - 1) < 0.01)
        var estimate = film
        for _ in 0..<20 {
            estimate = EncoderEstimate(estimate, [.init(level: 1, raw: 1000, stored: 500, seconds: 0.000_01)])
        }
        #expect(estimate.raw < 30_000)
        #expect(estimate.bytesPerSecond < 110e6)
        // A pack in two frames of different levels is the same as one of either.
        let mixed = EncoderEstimate(
            nil,
            [
                .init(level: 1, raw: 3_000_000, stored: 750_000, seconds: 0.006),
                .init(level: 12, raw: 3_000_000, stored: 654_750, seconds: 0.0913),
            ])
        #expect(abs(mixed.bytesPerSecond / film.bytesPerSecond - 1) < 0.01)
        #expect(abs(mixed.stored / film.stored - 1) < 0.01)
    }
}
