/// Which form of a page is the cheapest, by an estimate: trying all would take several times as long.
enum UnitChoice {
    case runs
    case whole
    case pixels

    /// Runs that take no more than this are taken without looking for the content elsewhere: a reference takes as much.
    static let runsBeforeSearch = 24

    /// - Parameter runLength: bytes that the runs over the parent's page take, if there are any.
    static func choose(_ page: UnsafeRawBufferPointer, runLength: Int?) -> UnitChoice {
        if runLength != nil { return .runs }
        return isPicture(page) ? .pixels : .whole
    }

    static func isPicture(_ page: UnsafeRawBufferPointer) -> Bool { false }
}
