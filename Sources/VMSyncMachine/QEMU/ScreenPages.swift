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
    }

    /// Names of the blocks that pages are of.
    package private(set) var blocks: [String] = []
    /// In the order of the state; a page that comes twice is what it is the second time.
    package private(set) var pages: [Page] = []

    private enum Flag {
        static let zero: UInt64 = 0x02
        static let size: UInt64 = 0x04
        static let page: UInt64 = 0x08
        static let end: UInt64 = 0x10
        static let sameBlock: UInt64 = 0x20
        static let all: UInt64 = 0xFFF
    }

    private enum Section {
        static let start: UInt8 = 1
        static let part: UInt8 = 2
        static let end: UInt8 = 3
        static let footer: UInt8 = 0x7E
    }

    /// Finds the pages of `state`; none if it isn't laid out as expected: then nothing may be concluded from it.
    package init(_ state: UnsafeRawBufferPointer) {
        var reader = Reader(bytes: state)
        guard let id = reader.findStart() else { return }
        while true {
            guard reader.readPages(), reader.take(1) == UInt64(Section.footer), reader.take(4) == id,
                let kind = reader.take(1)
            else { return }
            // Behind the last part of the memory come the devices.
            guard kind == UInt64(Section.part) || kind == UInt64(Section.end), reader.take(4) == id else { break }
        }
        blocks = reader.blocks
        pages = reader.pages
    }

    /// Puts the last version of each page in place of the earlier ones in `state`. What QEMU makes of the state stays the
    /// same, and a screen that changed in that moment travels once.
    package static func settle(_ state: inout [UInt8]) {
        let pages = state.withRawBytes { ScreenPages($0) }.pages
        var last: [Int: Range<Int>?] = [:]
        for page in pages.reversed() {
            // A block is far smaller than 2^48 bytes, and there are few.
            let place = page.block << 48 + page.offset
            guard let later = last[place] else {
                last[place] = .some(page.content)
                continue
            }
            guard let earlier = page.content else { continue }
            state.withUnsafeMutableBytes { state in
                let target = UnsafeMutableRawBufferPointer(rebasing: state[earlier])
                if let later {
                    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: state[later]))
                } else {
                    target.initializeMemory(as: UInt8.self, repeating: 0)
                }
            }
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
            while let head = take(8) {
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
                    pages.append(Page(block: block, offset: position, content: nil))
                case Flag.page:
                    guard bytes.count - offset >= Unit.size else { return false }
                    pages.append(Page(block: block, offset: position, content: offset..<offset + Unit.size))
                    offset += Unit.size
                default: return false
                }
            }
            return false
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
