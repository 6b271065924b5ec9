/// Runs of bytes that overwrite a unit: where they stand, and the bytes (docs/format/checkpoint.md, "Units").
package struct Runs {
    /// `(skip varint, count varint)` for each run.
    package var places: UnsafeRawBufferPointer
    /// The bytes of all runs, one after the other.
    package var bytes: UnsafeRawBufferPointer

    package static var none: Runs {
        Runs(places: UnsafeRawBufferPointer(start: nil, count: 0), bytes: UnsafeRawBufferPointer(start: nil, count: 0))
    }

    package init(places: UnsafeRawBufferPointer, bytes: UnsafeRawBufferPointer) {
        self.places = places
        self.bytes = bytes
    }

    package var isEmpty: Bool { places.isEmpty }

    /// Overwrites `unit`. The runs have been checked: those of a reader have.
    package func apply(to unit: UnsafeMutableRawBufferPointer) {
        forEach { position, bytes in
            UnsafeMutableRawBufferPointer(rebasing: unit[position..<position + bytes.count]).copyMemory(from: bytes)
        }
    }

    /// Hands out each run with its position.
    package func forEach(_ body: (Int, UnsafeRawBufferPointer) -> Void) {
        var offset = 0
        var position = 0
        var from = 0
        while offset < places.count, let skip = Varint.read(places, at: &offset, end: places.count),
            let count = Varint.read(places, at: &offset, end: places.count)
        {
            position += Int(skip)
            body(position, UnsafeRawBufferPointer(rebasing: bytes[from..<from + Int(count)]))
            position += Int(count)
            from += Int(count)
        }
    }
}

/// The runs from one version of a unit to the next, in memory that is used again for each unit.
package struct RunEncoder: ~Copyable {
    /// Runs longer than this aren't worth it: the whole page compresses better than three quarters of it in pieces.
    package static let bytesMax = Unit.size * 3 / 4
    /// Words are compared eight bytes at a time; a run goes on over this many equal words, because a new run's two
    /// varints and the break in the data cost more than the bytes.
    private static let wordsBridged = 1
    private static let words = Unit.size / 8
    /// Each run has at least one word to itself and one bridged behind it; its place takes at most four bytes.
    private static let placesMax = words / (wordsBridged + 1) * 4

    private let places = UnsafeMutableRawBufferPointer.allocate(byteCount: RunEncoder.placesMax + 8, alignment: 8)
    private let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: Unit.size, alignment: 8)
    package private(set) var count = 0
    private var placesLength = 0
    private var bytesLength = 0

    package init() {}

    deinit {
        places.deallocate()
        bytes.deallocate()
    }

    /// The runs found last; good until the next call.
    package var runs: Runs {
        Runs(
            places: UnsafeRawBufferPointer(rebasing: places[..<placesLength]),
            bytes: UnsafeRawBufferPointer(rebasing: bytes[..<bytesLength]))
    }

    /// Finds the runs from `old` to `new`, which hold one unit each.
    /// - Returns: the bytes that they take in a section before compression; nil if there are none or too many.
    package mutating func find(from old: UnsafeRawBufferPointer, to new: UnsafeRawBufferPointer) -> Int? {
        precondition(old.count == Unit.size && new.count == Unit.size)
        count = 0
        placesLength = 0
        bytesLength = 0
        var written = 0
        var word = Self.nextDifference(old, new, from: 0)
        while word < Self.words {
            let run = Self.trimmed(run: word..<Self.endOfRun(old, new, from: word), old, new)
            guard placesLength + bytesLength + 4 + run.count <= Self.bytesMax else { return nil }
            Varint.write(run.lowerBound - written, to: places, at: &placesLength)
            Varint.write(run.count, to: places, at: &placesLength)
            UnsafeMutableRawBufferPointer(rebasing: bytes[bytesLength...]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: new[run]))
            bytesLength += run.count
            count += 1
            written = run.upperBound
            word = Self.nextDifference(old, new, from: (run.upperBound + 7) / 8)
        }
        return count == 0 ? nil : placesLength + bytesLength
    }

    /// The first word at or after `start` that differs, or `words`.
    @inline(__always)
    private static func nextDifference(
        _ old: UnsafeRawBufferPointer, _ new: UnsafeRawBufferPointer, from start: Int
    ) -> Int {
        var word = start
        while word < words, word % 8 != 0 {
            if differs(old, new, word) { return word }
            word += 1
        }
        while word < words {
            let left = old.loadUnaligned(fromByteOffset: word * 8, as: SIMD8<UInt64>.self)
            let right = new.loadUnaligned(fromByteOffset: word * 8, as: SIMD8<UInt64>.self)
            if left != right { break }
            word += 8
        }
        while word < words, !differs(old, new, word) { word += 1 }
        return min(word, words)
    }

    /// The word behind the run that begins at `start`: after it come more than `wordsBridged` equal words, or the end.
    @inline(__always)
    private static func endOfRun(_ old: UnsafeRawBufferPointer, _ new: UnsafeRawBufferPointer, from start: Int) -> Int {
        var end = start + 1
        var word = end
        while word < words, word - end <= wordsBridged {
            if differs(old, new, word) { end = word + 1 }
            word += 1
        }
        return end
    }

    /// The bytes of the words `run`, without the equal ones at both ends.
    @inline(__always)
    private static func trimmed(
        run: Range<Int>, _ old: UnsafeRawBufferPointer, _ new: UnsafeRawBufferPointer
    ) -> Range<Int> {
        var first = run.lowerBound * 8
        var last = run.upperBound * 8
        while first < last, old[first] == new[first] { first += 1 }
        while last > first, old[last - 1] == new[last - 1] { last -= 1 }
        return first..<last
    }

    @inline(__always)
    private static func differs(_ old: UnsafeRawBufferPointer, _ new: UnsafeRawBufferPointer, _ word: Int) -> Bool {
        old.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self)
            != new.loadUnaligned(fromByteOffset: word * 8, as: UInt64.self)
    }
}
