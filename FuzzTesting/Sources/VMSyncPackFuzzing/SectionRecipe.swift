import VMSyncCheckpoint

/// Makes sections of an input. Each begins with a byte: bits 0–1 are its kind, bits 4–7 its disk, and bit 2 says that it
/// is to be compressed. Of device state bits 2–3 are its compression, and the input is the frame itself; where the
/// compression is 3, it is what the frame holds.
struct SectionRecipe {
    private let compressor: ZstdCompressor
    /// More would only make the fuzzer slow.
    private static let rawMax = 256 << 10

    init(_ compressor: ZstdCompressor) { self.compressor = compressor }

    /// Sections by their raw bytes: a length of two bytes, then the bytes.
    func sections(ofBytes input: inout InputReader) -> [UInt8] {
        var sections: [UInt8] = []
        while !input.isAtEnd {
            let head = input.byte()
            sections += section(head, input.take(Int(input.word())))
        }
        return sections
    }

    /// Sections by their records: a byte with their count, then the records. Their columns are consistent, so that
    /// what is in them decides.
    func sections(ofRecords input: inout InputReader) -> [UInt8] {
        var sections: [UInt8] = []
        while !input.isAtEnd, sections.count < Self.rawMax {
            let head = input.byte()
            if head & 3 == 3 {
                sections += section(head, input.take(Int(input.word())))
                continue
            }
            var columns = ColumnRecipe()
            for _ in 0..<input.byte() where !input.isAtEnd && columns.data.count < Self.rawMax { columns.add(&input) }
            sections += section(head, columns.bytes)
        }
        return sections
    }

    private func section(_ head: UInt8, _ raw: [UInt8]) -> [UInt8] {
        let kind = head & 3
        let disk = kind == 2 ? head >> 4 : 0
        // Of the device state the input gives the frame, because the manifest knows the state.
        if kind == 3 {
            let compression = head >> 2 & 3
            let stored = compression == 3 ? frame(raw) : raw
            let length = PackRecipe.state.count
            return Self.header(kind: 3, compression: compression, raw: length, stored: stored.count) + stored
        }
        guard head & 4 != 0 else {
            return Self.header(kind: kind, compression: 0, disk: disk, raw: raw.count, stored: raw.count) + raw
        }
        let stored = frame(raw)
        return Self.header(kind: kind, compression: 1, disk: disk, raw: raw.count, stored: stored.count) + stored
    }

    private func frame(_ raw: [UInt8]) -> [UInt8] {
        var frame: [UInt8] = []
        do {
            _ = try raw.withUnsafeBytes { try compressor.append($0, to: &frame) }
        } catch {
            preconditionFailure("a section can't be compressed: \(error)")
        }
        return frame
    }

    static func header(kind: UInt8, compression: UInt8, disk: UInt8 = 0, raw: Int, stored: Int) -> [UInt8] {
        [kind, compression, disk, 0, 0, 0, 0, 0] + little(UInt64(raw)) + little(UInt64(stored))
    }

    /// How many sections stand in `bytes`, as far as their headers can be followed.
    static func count(_ bytes: [UInt8]) -> UInt32 {
        var (count, offset): (UInt32, Int) = (0, 0)
        while bytes.count - offset >= 24 {
            let stored = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[offset + 16 + $1]) << (8 * UInt64($1)) }
            count += 1
            guard stored <= UInt64(bytes.count - offset - 24) else { break }
            offset += 24 + Int(stored)
        }
        return count
    }
}

/// The columns of a section while records are added.
struct ColumnRecipe {
    private(set) var data: [UInt8] = []
    private var kinds: [UInt8] = []
    private var gaps: [UInt8] = []
    private var references: [UInt8] = []
    private var places: [UInt8] = []

    /// A record: its kind, its gap, and what the kind asks for. Pages and runs are one byte repeated.
    mutating func add(_ input: inout InputReader) {
        let kind = input.byte()
        kinds.append(kind)
        append(UInt64(input.byte()), to: &gaps)
        switch kind & 0x0F {
        case 1, 2, 9: data += [UInt8](repeating: input.byte(), count: Unit.size)
        case 4, 6, 8:
            append(UInt64(input.byte()), to: &references)
            append(UInt64(input.word()), to: &references)
        case 5, 7: append(UInt64(input.word()), to: &references)
        default: break
        }
        if kind & 0x10 != 0 { addRuns(&input) }
    }

    private mutating func addRuns(_ input: inout InputReader) {
        let count = input.byte() & 7
        append(UInt64(count), to: &places)
        for _ in 0..<count {
            append(UInt64(input.word()), to: &places)
            let length = Int(input.word() & 0x1FFF)
            append(UInt64(length), to: &places)
            data += [UInt8](repeating: input.byte(), count: length)
        }
    }

    private func append(_ value: UInt64, to column: inout [UInt8]) {
        var rest = value
        while rest >= 0x80 {
            column.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        column.append(UInt8(rest))
    }

    var bytes: [UInt8] {
        let lengths = [kinds.count, data.count, gaps.count, references.count]
        return lengths.flatMap { little(UInt32($0)) } + data + kinds + gaps + references + places
    }
}
