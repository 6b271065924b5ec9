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
    /// Runs that take no more than this are taken without an estimate: no other form of a page gets below it.
    private static let runsBeforeEstimate = 256
    /// What zstd leaves of the bytes of runs, which are denser than what they are taken from.
    private static let runsLeft = 0.6
    /// zstd also finds repetitions, and finds them best in what is not filtered: a filter must win by this much.
    private static let plainLeft = 0.9
    /// Pieces of a page that make up the sample, and the bytes of each.
    private static let pieces = 8
    private static let pieceLength = 64
    private static let sampled = pieces * pieceLength
    private static let pagePerSample = Double(Unit.size / sampled)

    private let counts = UnsafeMutablePointer<UInt16>.allocate(capacity: 256)
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
        var best = (PageForm.plain, entropy(page, .plain) * Self.plainLeft)
        for form in [PageForm.pixels, .samples] {
            let bytes = entropy(page, form)
            if bytes < best.1 { best = (form, bytes) }
        }
        return best
    }

    /// The bytes of a page by the entropy of single bytes in the sample.
    private func entropy(_ page: UnsafeRawBufferPointer, _ form: PageForm) -> Double {
        counts.update(repeating: 0, count: 256)
        var sum: Float = 0
        for piece in 0..<Self.pieces {
            let start = piece * (Unit.size / Self.pieces)
            // The first bytes of a page have none before them.
            let offset = start + (form.step ?? 0)
            for position in offset..<offset + Self.pieceLength {
                let before = form.step.map { page[position - $0] } ?? 0
                let value = Int(page[position] &- before)
                sum += steps[Int(counts[value])]
                counts[value] += 1
            }
        }
        let bits = Self.weight(Self.sampled) - Double(sum)
        return bits / 8 * Self.pagePerSample
    }

    private static func weight(_ count: Int) -> Double { count == 0 ? 0 : Double(count) * log2(Double(count)) }
}
