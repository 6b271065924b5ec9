/// The memory that a `PackWriter` works in. Kept from one pack to the next: to touch what is new for the first time took
/// one part in twenty of the time that a checkpoint is sealed in.
///
/// Serves one writer at a time.
package final class PackWorkspace {
    package let compressor = ZstdCompressor()
    var builder = UnitSectionBuilder()
    var runs = RunEncoder()
    let estimate = UnitEstimate()
    /// Where a section is compressed to.
    var frame: [UInt8] = []

    package init() {}

    /// Drops what a writer that failed has left.
    func clear() {
        builder.removeAll()
        frame.removeAll(keepingCapacity: true)
    }
}
