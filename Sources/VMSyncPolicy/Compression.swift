/// How strongly packs are compressed: so that a checkpoint is on the other side the soonest, within the share of a
/// processor that it may take.
///
/// A fast link never waits for zstd, and a slow one gets the strongest that it has the time for.
package struct CompressionPlan: Sendable, Hashable {
    /// zstd's level, its speed beside that of level 1, and what it leaves of a byte beside level 1. Measured with zstd 1.5
    /// on the dirty pages of a desktop that plays a film and of one that opens a browser.
    private struct Level {
        let number: Int32
        let speed: Double
        let size: Double
    }

    private static let levels = [
        Level(number: 1, speed: 1, size: 1), Level(number: 3, speed: 0.55, size: 0.92),
        Level(number: 6, speed: 0.2, size: 0.88), Level(number: 9, speed: 0.12, size: 0.85),
        Level(number: 12, speed: 0.05, size: 0.82), Level(number: 16, speed: 0.015, size: 0.76),
        Level(number: 19, speed: 0.007, size: 0.71),
    ]

    /// The part of one processor that compressing may take; the guest has the others and most of this one.
    private static let share = 0.25

    /// zstd's level.
    package let level: Int32

    /// - Parameters:
    ///   - link: bytes that arrive on the other side in a second; nil if that isn't known yet.
    ///   - encoder: what compressing took lately; nil if that isn't known yet.
    ///   - interval: seconds between two checkpoints.
    package init(link: Double?, encoder: EncoderEstimate?, interval: Double) {
        guard let link, let encoder, link > 0, encoder.bytesPerSecond > 0 else {
            level = Self.levels[0].number
            return
        }
        func time(_ level: Level) -> Double { encoder.raw / (encoder.bytesPerSecond * level.speed) }
        func arrival(_ level: Level) -> Double { time(level) + encoder.stored * level.size / link }
        // A checkpoint that takes longer to arrive than the interval holds up the next: it may take its share of that.
        let allowed = Self.levels.filter { time($0) <= Self.share * max(interval, arrival($0)) }
        level = (allowed.min { arrival($0) < arrival($1) } ?? Self.levels[0]).number
    }

    fileprivate static func factors(of level: Int32) -> (speed: Double, size: Double) {
        let found = levels.last { $0.number <= level } ?? levels[0]
        return (found.speed, found.size)
    }
}

/// What compressing packs takes, as if all were compressed at level 1; later ones weigh more.
package struct EncoderEstimate: Sendable, Hashable {
    /// The weight of the last pack.
    private static let weight = 0.25

    /// Of a pack, in bytes: before and after.
    package private(set) var raw: Double
    package private(set) var stored: Double
    package private(set) var bytesPerSecond: Double

    /// - Parameters:
    ///   - previous: the estimate so far.
    ///   - seconds: of a processor; all of the encoding, for the rest of it is small beside zstd or goes with it.
    package init(_ previous: EncoderEstimate?, raw: Int, stored: Int, level: Int32, seconds: Double) {
        let factors = CompressionPlan.factors(of: level)
        let speed = seconds > 0 ? Double(raw) / seconds / factors.speed : previous?.bytesPerSecond ?? 0
        let size = Double(stored) / factors.size
        let weight = previous == nil ? 1 : Self.weight
        self.raw = Self.mix(previous?.raw, Double(raw), weight)
        self.stored = Self.mix(previous?.stored, size, weight)
        bytesPerSecond = Self.mix(previous?.bytesPerSecond, speed, weight)
    }

    private static func mix(_ old: Double?, _ new: Double, _ weight: Double) -> Double {
        old.map { $0 * (1 - weight) + new * weight } ?? new
    }
}

/// How fast a link is, by what was sent over it.
package struct LinkEstimate: Sendable, Hashable {
    /// What is shorter says more of the round trip than of the link.
    package static let bytesMin = 64 << 10
    private static let weight = 0.3

    /// Bytes a second; nil until enough was sent at once.
    package private(set) var goodput: Double?

    package init() {}

    /// Notes a transfer that was acknowledged.
    package mutating func note(bytes: Int, seconds: Double) {
        guard bytes >= Self.bytesMin, seconds > 0 else { return }
        let speed = Double(bytes) / seconds
        goodput = goodput.map { $0 * (1 - Self.weight) + speed * Self.weight } ?? speed
    }
}
