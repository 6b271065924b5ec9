/// How long a transfer over a link takes, by those before: seconds = overhead + bytes / goodput.
///
/// Both are fitted by least squares, in which each transfer weighs less with each that follows. Small packs tell the
/// overhead (round trips, the server's disk), large ones the goodput; from one kind alone the other can't be known, so the
/// fit is held to a usual overhead by one observation that is never forgotten.
package struct TransferModel: Hashable, Sendable {
    /// Of what is remembered, what each new transfer leaves: half after four.
    private static let memory = 0.85
    /// A round trip within a country and a commit to a disk.
    private static let usualOverhead = 0.02
    /// What is shorter says more of the round trip than of the link.
    private static let bytesMin = 16_384.0
    /// Seconds by which two transfers of nothing differ.
    private static let noise = 0.02
    /// Beyond this a link isn't what a transfer waits for: 10 Gbit/s.
    private static let goodputMax = 1.25e9
    /// Bytes a second of a link of which nothing is known: what most home uplinks carry.
    package static let usualGoodput = 1e6

    private var count = 1.0
    private var bytes = 0.0
    private var seconds = usualOverhead
    private var bytesSquared = 0.0
    private var product = 0.0
    /// |truth − guess| / guess.
    private var error = Average()
    private var isFitted = false
    /// Seconds per byte, as they were last known: small packs, of which there may be many, tell nothing else.
    private var lastSlope: Double?

    package init() {}

    /// Notes a transfer that was acknowledged.
    package mutating func note(bytes newBytes: Int, seconds newSeconds: Double) {
        guard newBytes >= 0, newSeconds > 0, newSeconds.isFinite else { return }
        let guess = isFitted ? link.seconds(for: Double(newBytes)).mean : newSeconds
        error.note(abs(newSeconds - guess) / max(guess, Self.usualOverhead))
        let size = Double(newBytes)
        // All but the usual overhead fades.
        count = 1 + (count - 1) * Self.memory + 1
        bytes = bytes * Self.memory + size
        seconds = Self.usualOverhead + (seconds - Self.usualOverhead) * Self.memory + newSeconds
        bytesSquared = bytesSquared * Self.memory + size * size
        product = product * Self.memory + size * newSeconds
        isFitted = true
        lastSlope = slope ?? lastSlope
    }

    /// Bytes a second; nil until a transfer has shown it.
    package var goodput: Double? { slope.map { 1 / $0 } }

    /// Seconds per byte; nil where what the bytes took is lost among what overheads differ by.
    private var slope: Double? {
        let spread = count * bytesSquared - bytes * bytes
        guard isFitted, spread > 0, usualBytes >= Self.bytesMin else { return nil }
        let slope = max((count * product - bytes * seconds) / spread, 1 / Self.goodputMax)
        return slope * usualBytes >= Self.noise ? slope : nil
    }

    /// Bytes of a transfer, the larger ones weighing more.
    private var usualBytes: Double { bytes > 0 ? bytesSquared / bytes : 0 }

    /// The same for a guess: what was never known is a usual link, or one that is as fast as what was seen at least.
    private var guessedSlope: Double {
        if let known = slope ?? lastSlope { return known }
        let seen = isFitted && seconds > 0 ? bytes / seconds : 0
        return 1 / max(Self.usualGoodput, seen)
    }

    /// Seconds of a transfer of nothing.
    package var overhead: Double { max(0, (seconds - bytes * guessedSlope) / count) }

    /// What is known of the link.
    package var link: LinkSummary {
        LinkSummary(
            overhead: overhead, goodput: 1 / guessedSlope, error: error.estimate?.mean ?? 0,
            isGuessed: lastSlope == nil && usualBytes < Self.bytesMin)
    }
}

/// How long transfers over a link take, as one device can tell another.
package struct LinkSummary: Hashable, Sendable, Codable {
    /// Seconds of a transfer of nothing.
    package var overhead: Double
    /// Bytes a second.
    package var goodput: Double
    /// The mean of |truth − guess| / guess.
    package var error: Double
    /// Whether nothing has gone over it that would tell its goodput.
    package var isGuessed: Bool

    /// Bytes. What is less takes about as long on a link of which only little is known.
    package static let guessedMax = 65_536.0

    package init(overhead: Double, goodput: Double, error: Double = 0, isGuessed: Bool = false) {
        self.overhead = overhead
        self.goodput = goodput
        self.error = error
        self.isGuessed = isGuessed
    }

    /// Whether it can be meant; checked of what another device has told.
    package var isPossible: Bool {
        overhead.isFinite && overhead >= 0 && goodput.isFinite && goodput > 0 && error.isFinite && error >= 0
    }

    /// What a transfer takes.
    package func seconds(for bytes: Double) -> Estimate {
        let mean = overhead + max(0, bytes) / goodput
        return Estimate(mean, deviation: mean * error)
    }
}
