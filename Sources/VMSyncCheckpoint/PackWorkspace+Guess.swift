extension PackWorkspace {
    /// Bytes of a reference to content that the receiver has, or of a unit of zeros.
    private static let reference = 8.0
    /// What zstd leaves of the bytes of runs, as `UnitEstimate` has it.
    private static let runsLeft = 0.6

    /// About how many bytes a page would take in a pack; for a forecast, so without looking for its content elsewhere.
    /// - Parameter parent: the page as the parent checkpoint has it, where that is known.
    package func guess(_ page: UnsafeRawBufferPointer, parent: UnsafeRawBufferPointer?) -> Double {
        if isZero(page) { return Self.reference }
        let runLength = parent.flatMap { runs.find(from: $0, to: page) }
        let whole = estimate.cheapest(page).1
        guard let runLength else { return whole }
        return min(max(Double(runLength) * Self.runsLeft, Self.reference), whole)
    }
}
