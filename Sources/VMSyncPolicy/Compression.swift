import VMSyncCore

/// How strongly packs are compressed: so that a checkpoint is on the other side the soonest, within the share of a
/// processor that it may take.
///
/// A fast link doesn't wait for zstd, and a slow one gets the strongest that it has the time for. A pack for which nobody
/// waits may take a few milliseconds more: that is the strongest level for the few KB of a guest that idles.
package struct CompressionPlan: Sendable, Hashable {
    /// zstd's level, its speed beside that of level 1, and what it leaves of a byte beside level 1. Measured with zstd
    /// 1.5.4 on the dirty pages of a desktop that opens a browser, in pieces of 2 MiB; level 1 took in 484 MB/s there.
    private struct Level {
        let number: Int32
        let speed: Double
        let size: Double
    }

    private static let levels = [
        Level(number: 1, speed: 1, size: 1), Level(number: 3, speed: 0.595, size: 0.951),
        Level(number: 6, speed: 0.188, size: 0.884), Level(number: 9, speed: 0.115, size: 0.877),
        Level(number: 12, speed: 0.0657, size: 0.873), Level(number: 16, speed: 0.0108, size: 0.821),
        Level(number: 19, speed: 0.00465, size: 0.791),
    ]

    /// The part of one processor that compressing may take; the guest has the others and most of this one.
    private static let share = 0.25
    /// The part of the interval that a pack may be later than the soonest possible, to be smaller: 10 ms of a second.
    private static let patience = 0.01

    private let link: Double?
    private let encoder: EncoderEstimate?
    private let interval: Double
    private let isAwaited: Bool

    /// - Parameters:
    ///   - link: bytes that arrive on the other side in a second; nil if that isn't known yet.
    ///   - encoder: what compressing took lately; nil if that isn't known yet.
    ///   - interval: seconds between two checkpoints.
    ///   - isAwaited: whether somebody waits for this pack, as in a switch.
    package init(link: Double?, encoder: EncoderEstimate?, interval: Double, isAwaited: Bool = false) {
        self.link = link
        self.encoder = encoder
        self.interval = interval
        self.isAwaited = isAwaited
    }

    /// zstd's level for a pack that holds so many bytes before compression, or as many as the last ones if that is more.
    ///
    /// Asked again while a pack grows: a guest that begins to work has been idle before, and at the level of the few KB
    /// that it wrote then, its first pack would take seconds.
    package func level(forPackOf bytes: Int) -> Int32 {
        guard let link, let encoder, link > 0, encoder.bytesPerSecond > 0 else { return Self.levels[0].number }
        let raw = max(encoder.raw, Double(bytes))
        let stored = encoder.raw > 0 ? encoder.stored * (raw / encoder.raw) : 0
        func time(_ level: Level) -> Double { raw / (encoder.bytesPerSecond * level.speed) }
        func arrival(_ level: Level) -> Double { time(level) + stored * level.size / link }
        // A checkpoint that takes longer to arrive than the interval holds up the next: it may take its share of that.
        let allowed = Self.levels.filter { time($0) <= Self.share * max(interval, arrival($0)) }
        let soonest = allowed.map(arrival).min() ?? 0
        let latest = soonest + (isAwaited ? 0 : Self.patience * interval)
        return (allowed.last { arrival($0) <= latest } ?? Self.levels[0]).number
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
    ///   - frames: of one pack.
    package init(_ previous: EncoderEstimate?, _ frames: [CompressedFrame]) {
        var (raw, stored, seconds) = (0.0, 0.0, 0.0)
        for frame in frames {
            let factors = CompressionPlan.factors(of: frame.level)
            raw += Double(frame.raw)
            stored += Double(frame.stored) / factors.size
            seconds += frame.seconds * factors.speed
        }
        let speed = seconds > 0 ? raw / seconds : previous?.bytesPerSecond ?? 0
        let weight = previous == nil ? 1 : Self.weight
        self.raw = Self.mix(previous?.raw, raw, weight)
        self.stored = Self.mix(previous?.stored, stored, weight)
        bytesPerSecond = Self.mix(previous?.bytesPerSecond, speed, weight)
    }

    private static func mix(_ old: Double?, _ new: Double, _ weight: Double) -> Double {
        old.map { $0 * (1 - weight) + new * weight } ?? new
    }
}
