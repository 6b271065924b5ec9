/// The memory that a `PackWriter` works in. Kept from one pack to the next: to touch what is new for the first time took
/// one part in twenty of the time that a checkpoint is sealed in.
///
/// Serves one writer at a time.
package final class PackWorkspace {
    /// zstd's level for a pack that holds so many bytes before compression, or more; asked for each section.
    package var level: (_ packBytes: Int) -> Int32 = { _ in ZstdCompressor.fastLevel }
    let compressor = ZstdCompressor()
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

    /// Bytes that zstd holds for it.
    package var compressorMemory: Int { compressor.memory }

    /// Gives back what only a pack out of the ordinary needs: the strong levels take up to 85 MB.
    func giveBack() { compressor.giveBack(above: Self.kept) }

    /// Bytes of zstd that stay: what level 9 takes for a section.
    private static let kept = 16 << 20
}
