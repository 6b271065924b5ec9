import VMSyncCheckpoint

/// Pages of memory inside a device state: the screen's, for the guest's own stays out of it (`x-ignore-shared`).
///
/// QEMU sends the screen while the guest still runs, and once more what changed since. The layout is that of QEMU 7.2's
/// migration stream (migration/ram.c): per page a big-endian number, its offset with flags in the low bits; the name of
/// its block, unless it is that of the page before; then 4096 bytes, or one byte for a page of zeros.
package struct ScreenPages {
    package struct Page {
        /// Number of its block in `blocks`, and offset in it.
        package let block: Int
        package let offset: Int
        /// Where its 4096 bytes stand in the state; nil for zeros.
        package let content: Range<Int>?
        /// Where all that is said of it stands.
        let record: Range<Int>

        /// A number of its own. A block is far smaller than 2^48 bytes, and there are few.
        var place: Int { block << 48 + offset }
    }

    /// Names of the blocks that pages are of.
    package private(set) var blocks: [String] = []
    /// In the order of the state; a page that comes twice is what it is the second time.
    package private(set) var pages: [Page] = []

    /// A part of the section: its bytes, the numbers of its pages, and whether it may be left out if it has none.
    struct Part {
        let bytes: Range<Int>
        let pages: Range<Int>
        let mayGo: Bool
    }

    private(set) var parts: [Part] = []
    /// The section's number.
    private(set) var section: UInt64 = 0

    enum Flag {
        static let zero: UInt64 = 0x02
        static let size: UInt64 = 0x04
        static let page: UInt64 = 0x08
        static let end: UInt64 = 0x10
        static let sameBlock: UInt64 = 0x20
        static let all: UInt64 = 0xFFF
    }

    enum Section {
        static let start: UInt8 = 1
        static let part: UInt8 = 2
        static let end: UInt8 = 3
        static let footer: UInt8 = 0x7E
    }

    /// Finds the pages of `state`; none if it isn't laid out as expected: then nothing may be concluded from it.
    package init(_ state: UnsafeRawBufferPointer) {
        var reader = Reader(bytes: state)
        guard let id = reader.findStart() else { return }
        var found: [Part] = []
        var (start, isMiddle) = (reader.offset, false)
        while true {
            let first = reader.pages.count
            guard reader.readPages(), reader.take(1) == UInt64(Section.footer), reader.take(4) == id else { return }
            found.append(
                Part(bytes: start..<reader.offset, pages: first..<reader.pages.count, mayGo: isMiddle))
            start = reader.offset
            guard let kind = reader.take(1) else { return }
            isMiddle = kind == UInt64(Section.part)
            // Behind the last part of the memory come the devices.
            guard isMiddle || kind == UInt64(Section.end), reader.take(4) == id else { break }
        }
        blocks = reader.blocks
        pages = reader.pages
        parts = found
        section = id
    }

    /// `state` with each page once, as it is in the end: where it stood first, and without the parts that are empty then.
    /// What QEMU makes of it is the same; a screen that changed in that moment travels once, and one state is as long as
    /// the next.
    package static func settled(_ state: UnsafeRawBufferPointer) -> [UInt8] {
        let found = ScreenPages(state)
        guard let start = found.parts.first?.bytes.lowerBound, let end = found.parts.last?.bytes.upperBound else {
            return Array(state)
        }
        var last: [Int: Int] = [:]
        for (number, page) in found.pages.enumerated() { last[page.place] = number }
        let hasEmpty = found.parts.contains { $0.mayGo && $0.pages.isEmpty }
        if last.count == found.pages.count, !hasEmpty { return Array(state) }
        var settled: [UInt8] = []
        settled.reserveCapacity(state.count)
        settled += UnsafeRawBufferPointer(rebasing: state[..<start])
        var block: Int?
        for part in found.parts {
            let before = settled.count
            var copied = part.bytes.lowerBound
            var isEmpty = true
            for page in found.pages[part.pages] {
                settled += UnsafeRawBufferPointer(rebasing: state[copied..<page.record.lowerBound])
                copied = page.record.upperBound
                guard let number = last.removeValue(forKey: page.place) else { continue }
                found.append(found.pages[number], of: state, after: block, to: &settled)
                block = page.block
                isEmpty = false
            }
            settled += UnsafeRawBufferPointer(rebasing: state[copied..<part.bytes.upperBound])
            if part.mayGo, isEmpty { settled.removeLast(settled.count - before) }
        }
        settled += UnsafeRawBufferPointer(rebasing: state[end...])
        return settled
    }

    /// Writes a page's record, with the name of its block if that isn't the one of the page before.
    func append(_ page: Page, of state: UnsafeRawBufferPointer, after block: Int?, to output: inout [UInt8]) {
        let flags = (page.content == nil ? Flag.zero : Flag.page) | (page.block == block ? Flag.sameBlock : 0)
        withUnsafeBytes(of: (UInt64(page.offset) | flags).bigEndian) { output += $0 }
        if page.block != block {
            let name = Array(blocks[page.block].utf8)
            output.append(UInt8(name.count))
            output += name
        }
        if let content = page.content {
            output += UnsafeRawBufferPointer(rebasing: state[content])
        } else {
            output.append(0)
        }
    }

    private struct Reader {
        let bytes: UnsafeRawBufferPointer
        var offset = 0
        var blocks: [String] = []
        var pages: [Page] = []
        /// Of the page before.
        private var block = 0

        init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

        /// A big-endian number of `count` bytes.
        mutating func take(_ count: Int) -> UInt64? {
            guard bytes.count - offset >= count else { return nil }
            defer { offset += count }
            return bytes[offset..<offset + count].reduce(0) { $0 << 8 | UInt64($1) }
        }

        mutating func takeName() -> String? {
            guard let length = take(1), bytes.count - offset >= Int(length) else { return nil }
            defer { offset += Int(length) }
            return String(decoding: bytes[offset..<offset + Int(length)], as: UTF8.self)
        }

        /// Goes behind the head of the section "ram".
        /// - Returns: its number.
        mutating func findStart() -> UInt64? {
            // It is the first section that is sent in parts, within the first few hundred bytes.
            for start in 0..<min(bytes.count, 4096) where bytes[start] == Section.start {
                offset = start + 1
                guard let id = take(4), takeName() == "ram", take(8) != nil else { continue }
                return id
            }
            return nil
        }

        /// Reads to the end of one part.
        mutating func readPages() -> Bool {
            while true {
                let start = offset
                guard let head = take(8) else { return false }
                let flags = head & Flag.all
                if flags == Flag.end { return true }
                if flags == Flag.size {
                    guard skipBlocks(total: head & ~Flag.all) else { return false }
                    continue
                }
                if flags & Flag.sameBlock == 0 {
                    guard let name = takeName() else { return false }
                    block = number(of: name)
                } else if blocks.isEmpty {
                    return false
                }
                let position = Int(head & ~Flag.all & (1 << 48 - 1))
                switch flags & ~Flag.sameBlock {
                case Flag.zero:
                    guard take(1) == 0 else { return false }
                    pages.append(Page(block: block, offset: position, content: nil, record: start..<offset))
                case Flag.page:
                    guard bytes.count - offset >= Unit.size else { return false }
                    let content = offset..<offset + Unit.size
                    offset = content.upperBound
                    pages.append(Page(block: block, offset: position, content: content, record: start..<offset))
                default: return false
                }
            }
        }

        private mutating func number(of name: String) -> Int {
            if let known = blocks.firstIndex(of: name) { return known }
            blocks.append(name)
            return blocks.count - 1
        }

        /// The list of all blocks: name, length, and an address because shared ones are left out.
        private mutating func skipBlocks(total: UInt64) -> Bool {
            var listed: UInt64 = 0
            while listed < total {
                guard takeName() != nil, let length = take(8), take(8) != nil else { return false }
                listed += length
            }
            return true
        }
    }
}
