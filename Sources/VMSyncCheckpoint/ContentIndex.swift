/// Finds a unit by its content hash: 4 entries a bucket, 8 bytes an entry, over memory that the caller gives.
///
/// It forgets rather than grow: a full bucket loses an entry. And it only proposes: an entry holds 24 bits of the hash, so
/// whoever asks compares the content. Both are cheap, for what isn't found is sent, dearer, never wrong.
package struct ContentIndex {
    private static let ways = 4
    private static let locationBits: UInt64 = 40
    private static let locationMask: UInt64 = (1 << locationBits) - 1

    /// `(24 bits of the hash, location + 1)`; 0 is empty.
    private let entries: UnsafeMutableBufferPointer<UInt64>
    private let bucketMask: UInt64

    /// Entries that serve `units` units well: at twice as many, one unit in twenty is lost at worst.
    package static func entryCount(forUnits units: Int) -> Int {
        let wanted = max(units, ways) * 2
        return 1 << (Int.bitWidth - (wanted - 1).leadingZeroBitCount)
    }

    /// - Parameter entries: as many as `entryCount` says, all zero for an empty index.
    package init(_ entries: UnsafeMutableBufferPointer<UInt64>) {
        precondition(entries.count >= Self.ways && entries.count.nonzeroBitCount == 1)
        self.entries = entries
        bucketMask = UInt64(entries.count / Self.ways - 1)
    }

    /// Remembers that `content` stands at `location`, a number below 2^40 - 1.
    package func insert(_ content: Hash128, at location: Int) {
        let (first, tag) = place(content)
        let entry = tag | UInt64(location + 1)
        for slot in first..<first + Self.ways
        where entries[slot] == 0 || entries[slot] & ~Self.locationMask == tag {
            entries[slot] = entry
            return
        }
        entries[first + location % Self.ways] = entry
    }

    /// The first location where `content` may stand and `isThere` says that it does.
    package func find<Failure>(
        _ content: Hash128, where isThere: (Int) throws(Failure) -> Bool
    ) throws(Failure) -> Int? {
        let (first, tag) = place(content)
        for slot in first..<first + Self.ways where entries[slot] & ~Self.locationMask == tag {
            let location = Int(entries[slot] & Self.locationMask) - 1
            if location >= 0, try isThere(location) { return location }
        }
        return nil
    }

    private func place(_ content: Hash128) -> (first: Int, tag: UInt64) {
        let low = UInt64(truncatingIfNeeded: content.value)
        let high = UInt64(truncatingIfNeeded: content.value >> 64)
        return (Int(low & bucketMask) * Self.ways, high & ~Self.locationMask)
    }
}
