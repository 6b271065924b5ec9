import VMSyncCore

/// A device state as what differs from the parent's, which has the same length (docs/format/checkpoint.md,
/// compression 3): most of it is the screen, and most of a screen stays.
package enum StateRuns {
    /// A run goes on over fewer equal bytes than this, because a new run's two varints cost as much.
    private static let bridged = 8
    /// Bytes that are compared at once, as eight words: of vectors of bytes Swift compares one after the other.
    private static let lanes = 64
    private static let headerLength = 4
    /// A run takes at most this many bytes beside its own: two varints of a number below 2^28.
    private static let placeMax = 8

    /// The longest that the runs of a state of `length` bytes can be: each has `bridged` equal bytes behind it.
    static func lengthMax(ofState length: Int) -> Int {
        headerLength + length + (length / (bridged + 1) + 1) * placeMax
    }

    /// `places_length`, `places` and the bytes of all runs; nil if the lengths differ.
    static func encode(_ state: UnsafeRawBufferPointer, over parent: UnsafeRawBufferPointer) -> [UInt8]? {
        guard state.count == parent.count else { return nil }
        var places: [UInt8] = []
        var bytes: [UInt8] = []
        // Growing means copying; what isn't used takes no memory.
        bytes.reserveCapacity(state.count)
        var written = 0
        var next = nextDifference(state, parent, from: 0)
        while next < state.count {
            var end = next + 1
            var byte = end
            while byte < state.count, byte - end < bridged {
                if state[byte] != parent[byte] { end = byte + 1 }
                byte += 1
            }
            Varint.append(UInt64(next - written), to: &places)
            Varint.append(UInt64(end - next), to: &places)
            bytes.append(contentsOf: state[next..<end])
            written = end
            next = nextDifference(state, parent, from: byte)
        }
        var encoded: [UInt8] = []
        encoded.reserveCapacity(headerLength + places.count + bytes.count)
        PackLayout.append(UInt32(places.count), to: &encoded)
        encoded += places
        encoded += bytes
        return encoded
    }

    /// The first byte at or after `start` that differs, or the length.
    private static func nextDifference(
        _ state: UnsafeRawBufferPointer, _ parent: UnsafeRawBufferPointer, from start: Int
    ) -> Int {
        var offset = start
        while offset + lanes <= state.count {
            let mine = state.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
            let theirs = parent.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
            if mine != theirs { break }
            offset += lanes
        }
        while offset < state.count, state[offset] == parent[offset] { offset += 1 }
        return offset
    }

    /// The state that `encoded`, which may come from anybody, makes of `parent`.
    /// - Throws: `corrupt` if a run leaves the state, or bytes are missing or left over.
    static func apply(
        _ encoded: UnsafeRawBufferPointer, over parent: UnsafeRawBufferPointer
    ) throws(VMSyncError) -> [UInt8] {
        var state = Array(parent)
        try state.withMutableRawBytes { state throws(VMSyncError) in try apply(encoded, to: state) }
        return state
    }

    /// Makes the new state of the parent's in its place; doing it twice is the same as once.
    /// - Throws: as above, and leaves it half made.
    package static func apply(
        _ encoded: UnsafeRawBufferPointer, to state: UnsafeMutableRawBufferPointer
    ) throws(VMSyncError) {
        guard encoded.count >= headerLength else { throw damaged }
        let placesLength = Int(UInt32(littleEndian: encoded.loadUnaligned(as: UInt32.self)))
        guard placesLength <= encoded.count - headerLength else { throw damaged }
        var place = headerLength
        let placesEnd = headerLength + placesLength
        var from = placesEnd
        var position = 0
        while place < placesEnd {
            guard let skip = Varint.read(encoded, at: &place, end: placesEnd),
                let count = Varint.read(encoded, at: &place, end: placesEnd), count > 0,
                skip <= UInt64(state.count - position), count <= UInt64(state.count - position) - skip,
                count <= UInt64(encoded.count - from)
            else { throw damaged }
            position += Int(skip)
            let run = UnsafeRawBufferPointer(rebasing: encoded[from..<from + Int(count)])
            UnsafeMutableRawBufferPointer(rebasing: state[position..<position + run.count]).copyMemory(from: run)
            position += run.count
            from += run.count
        }
        guard from == encoded.count else { throw damaged }
    }

    private static var damaged: VMSyncError { PackReader.damaged("its device state isn't what its runs say") }
}
