import Foundation

/// Which form of a page is the cheapest, by an estimate: to try all would take several times as long as the one.
///
/// What zstd makes of a form is guessed from the entropy of a sample of its bytes. On the dirty pages of a film in a
/// window the choice so made is within 2 % of that made with all bytes, and 30 % below the best single form.
struct UnitEstimate: ~Copyable {
    enum Choice: Equatable {
        case runs
        case whole(PageForm)
    }

    /// Runs that take no more than this are taken without looking for the content elsewhere: a reference takes as much.
    static let runsBeforeSearch = 24
    /// Runs that take no more than this are taken without an estimate: other forms seldom get below it, and a sample says
    /// too little of a page that is mostly zeros.
    private static let runsBeforeEstimate = 1024
    /// What zstd leaves of the bytes of runs, which are denser than what they are taken from.
    private static let runsLeft = 0.6
    /// zstd also finds repetitions, and finds them best in what is not filtered: a filter must win by this much.
    private static let plainLeft = 0.9
    /// Pieces of a page that make up the sample, and the bytes of each.
    private static let pieces = 8
    private static let pieceLength = 64
    private static let sampled = pieces * pieceLength
    private static let pagePerSample = Double(Unit.size / sampled)

    /// How often each value of a byte was seen, for each form.
    private let counts = UnsafeMutablePointer<UInt16>.allocate(capacity: PageForm.allCases.count << 8)
    /// What a byte adds to the sum of *n* · log2 *n* over all values, where its value was seen *n* times before.
    private let steps = UnsafeMutablePointer<Float>.allocate(capacity: sampled)

    init() {
        for seen in 0..<Self.sampled { steps[seen] = Float(Self.weight(seen + 1) - Self.weight(seen)) }
    }

    deinit {
        counts.deallocate()
        steps.deallocate()
    }

    /// - Parameter runLength: bytes that the runs over the parent's page take, if there are any.
    func choose(_ page: UnsafeRawBufferPointer, runLength: Int?) -> Choice {
        if let runLength, runLength <= Self.runsBeforeEstimate { return .runs }
        let (form, bytes) = cheapest(page)
        if let runLength, Double(runLength) * Self.runsLeft < bytes { return .runs }
        return .whole(form)
    }

    /// The form that is likely to be the shortest, and how many bytes it may take.
    func cheapest(_ page: UnsafeRawBufferPointer) -> (PageForm, Double) {
        let sums = sample(page)
        func bytes(_ sum: Float) -> Double {
            (Self.weight(Self.sampled) - Double(sum)) / 8 * Self.pagePerSample
        }
        var best = (PageForm.plain, bytes(sums.plain) * Self.plainLeft)
        if bytes(sums.pixels) < best.1 { best = (.pixels, bytes(sums.pixels)) }
        if bytes(sums.samples) < best.1 { best = (.samples, bytes(sums.samples)) }
        return best
    }

    /// The sum of *n* · log2 *n* over all values of a byte in the sample, for each form. All in one pass: each waits for
    /// its own counts only.
    private func sample(_ page: UnsafeRawBufferPointer) -> (plain: Float, pixels: Float, samples: Float) {
        counts.update(repeating: 0, count: PageForm.allCases.count << 8)
        let (plain, pixels, samples) = (counts, counts + 256, counts + 512)
        var sums: (plain: Float, pixels: Float, samples: Float) = (0, 0, 0)
        func count(_ value: UInt8, _ counts: UnsafeMutablePointer<UInt16>, _ sum: inout Float) {
            let seen = counts[Int(value)]
            sum += steps[Int(seen)]
            counts[Int(value)] = seen + 1
        }
        for piece in 0..<Self.pieces {
            // The first bytes of a page have none before them.
            let start = piece * (Unit.size / Self.pieces) + 4
            for position in start..<start + Self.pieceLength {
                let value = page[position]
                count(value, plain, &sums.plain)
                count(value &- page[position - 4], pixels, &sums.pixels)
                count(value &- page[position - 1], samples, &sums.samples)
            }
        }
        return sums
    }

    private static func weight(_ count: Int) -> Double { count == 0 ? 0 : Double(count) * log2(Double(count)) }
}
