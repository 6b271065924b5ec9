/// What changed inside one unit: runs of bytes that overwrite (docs/format/checkpoint.md, type 2).
package enum Delta {
    /// A delta longer than this isn't worth it: the whole page compresses better than three quarters of it in pieces.
    package static let lengthMax = Unit.size * 3 / 4
    /// Words are compared eight bytes at a time; a run goes on over this many equal words, because a new run's two
    /// varints and the break in the data cost more than the bytes.
    private static let wordsBridged = 1
    private static let words = Unit.size / 8

    /// Writes the delta from `old` to `new` into `output`.
    /// - Parameters: `old` and `new` hold one unit each; `output` has room for `Unit.size` bytes.
    /// - Returns: its length; 0 if they are equal; nil if it would be longer than `lengthMax`.
    package static func encode(
        from old: UnsafeRawBufferPointer, to new: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer
    ) -> Int? {
        precondition(old.count == Unit.size && new.count == Unit.size && output.count >= Unit.size)
        var length = 0
        var written = 0
        var word = nextDifference(old, new, from: 0)
        while word < words {
            let run = trimmed(run: word..<endOfRun(old, new, from: word), old, new)
            // Two varints of a value below 4096 are at most four bytes.
            guard length + 4 + run.count <= lengthMax else { return nil }
            Varint.write(run.lowerBound - written, to: output, at: &length)
            Varint.write(run.count, to: output, at: &length)
            UnsafeMutableRawBufferPointer(rebasing: output[length...]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: new[run]))
            length += run.count
            written = run.upperBound
            word = nextDifference(old, new, from: (run.upperBound + 7) / 8)
        }
        return length
    }

    /// Overwrites the runs of `delta` in `unit`.
    /// - Returns: false if a run leaves the unit or the delta; the runs before it have been put.
    @discardableResult
    package static func apply(_ delta: UnsafeRawBufferPointer, to unit: UnsafeMutableRawBufferPointer) -> Bool {
        forEachRun(of: delta, unitSize: unit.count) { position, run in
            UnsafeMutableRawBufferPointer(rebasing: unit[position..<position + run.count]).copyMemory(from: run)
        }
    }

    /// Whether `delta` stays within a unit and within itself.
    package static func isValid(_ delta: UnsafeRawBufferPointer) -> Bool {
        forEachRun(of: delta, unitSize: Unit.size) { _, _ in }
    }

    @inline(__always)
    private static func forEachRun(
        of delta: UnsafeRawBufferPointer, unitSize: Int, _ body: (Int, UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        var offset = 0
        var position = 0
        while offset < delta.count {
            guard let skip = Varint.read(delta, at: &offset, end: delta.count),
                let count = Varint.read(delta, at: &offset, end: delta.count),
                skip <= UInt64(unitSize - position), count <= UInt64(unitSize - position) - skip,
                count <= UInt64(delta.count - offset)
            else { return false }
            position += Int(skip)
            body(position, UnsafeRawBufferPointer(rebasing: delta[offset..<offset + Int(count)]))
            position += Int(count)
            offset += Int(count)
        }
        return true
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
