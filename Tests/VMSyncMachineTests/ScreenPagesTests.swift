import Testing
import VMSyncCheckpoint
import VMSyncMachine

/// The states here are written by hand after QEMU 7.2's migration/ram.c; that a real one is read right is shown by the
/// tests with a real guest, whose screen must be found (LiveGuestTests).
@Suite("Pages of the screen in a device state")
struct ScreenPagesTests {
    private static let head: [UInt8] = [0x51, 0x45, 0x56, 0x4D, 0, 0, 0, 3]
    private static let section: [UInt8] = [0, 0, 0, 2]
    private static let footer: [UInt8] = [0x7E] + section

    private func number(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - $0 * 8)) }
    }
    private func name(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }

    /// The start section: all blocks with lengths and addresses.
    private var start: [UInt8] {
        let blocks = name("pc.ram") + number(1 << 20) + number(0) + name("vga.vram") + number(1 << 16) + number(7 << 20)
        return [1] + Self.section + name("ram") + [0, 0, 0, 0, 0, 0, 0, 4] + number(((1 << 20) + (1 << 16)) | 0x04)
            + blocks + number(0x10) + Self.footer
    }

    private func part(_ records: [UInt8], isLast: Bool = false) -> [UInt8] {
        [isLast ? 3 : 2] + Self.section + records + number(0x10) + Self.footer
    }

    private func page(_ index: UInt64, _ byte: UInt8, first: Bool = false) -> [UInt8] {
        number(index << 12 | 0x08 | (first ? 0 : 0x20)) + (first ? name("vga.vram") : [])
            + [UInt8](repeating: byte, count: Unit.size)
    }

    private func zero(_ index: UInt64, first: Bool = false) -> [UInt8] {
        number(index << 12 | (first ? 0x02 : 0x22)) + (first ? name("vga.vram") : []) + [0]
    }

    private var devices: [UInt8] { [4, 0, 0, 0, 9] + name("timer") + [1, 2, 3] }

    private func settle(_ state: [UInt8]) -> [UInt8] { state.withUnsafeBytes { ScreenPages.settled($0) } }

    private func find(_ state: [UInt8]) -> [ScreenPages.Page] { state.withUnsafeBytes { ScreenPages($0).pages } }

    private var state: [UInt8] {
        Self.head + start + part(page(0, 0xA0, first: true) + page(1, 0xA1) + zero(2))
            + part(page(1, 0xB1) + page(2, 0xB2) + zero(0), isLast: true) + devices
    }

    @Test("all are found, with their block and offset, and zeros without content")
    func found() {
        let pages = find(state)
        #expect(pages.map(\.offset) == [0, 4096, 8192, 4096, 8192, 0])
        #expect(pages.allSatisfy { $0.block == 0 })
        #expect(state.withUnsafeBytes { ScreenPages($0).blocks } == ["vga.vram"])
        #expect(pages.map { $0.content.map { state[$0.lowerBound] } } == [0xA0, 0xA1, nil, 0xB1, 0xB2, nil])
    }

    @Test("each page stays once, where it stood first and as it is in the end")
    func settled() {
        let settled = settle(state)
        let expected =
            Self.head + start + part(zero(0, first: true) + page(1, 0xB1) + page(2, 0xB2)) + part([], isLast: true)
            + devices
        #expect(settled == expected)
        #expect(settle(settled) == settled)
    }

    @Test("parts in the middle that have become empty go, and a state with nothing twice stays as it is")
    func parts() {
        let long =
            Self.head + start + part(page(0, 1, first: true) + page(1, 1)) + part(page(1, 2)) + part([])
            + part(page(0, 3) + page(5, 3), isLast: true) + devices
        let expected =
            Self.head + start + part(page(0, 3, first: true) + page(1, 2)) + part(page(5, 3), isLast: true) + devices
        #expect(settle(long) == expected)
        #expect(settle(expected) == expected)
    }

    @Test("given in pieces, a state ends up with the same pages and devices")
    func pieces() throws {
        func state(_ pages: [UInt8], _ devices: [UInt8]) -> [UInt8] {
            Self.head + start + part(pages) + part([], isLast: true) + devices
        }
        let early = state(page(0, 1, first: true) + page(1, 1) + zero(2) + page(3, 1) + zero(4), [4, 1])
        let later = state(page(0, 1, first: true) + page(1, 2) + page(2, 2) + zero(3) + zero(4), [4, 2])
        let last = state(page(0, 1, first: true) + page(1, 3) + page(2, 2) + zero(3) + page(4, 3), [4, 3])
        let streams = try [early, later, last].map { try #require(ScreenStream($0)) }
        #expect(streams[2].continues(streams[0]))
        #expect(streams[2].changes(since: streams[2]).isEmpty)
        let whole =
            streams[0].opening + streams[1].changes(since: streams[0]) + streams[2].changes(since: streams[1])
            + streams[2].ending
        // What the changed pages are, each once.
        let expected =
            part(page(1, 2, first: true) + page(2, 2) + zero(3)) + part(page(1, 3, first: true) + page(4, 3))
        #expect(whole == early.dropLast(2 + part([]).count) + expected + part([], isLast: true) + [4, 3])
        #expect(settle(whole) == last)
    }

    @Test("a state that isn't laid out as expected, or of another machine, is not given in pieces")
    func noPieces() throws {
        let start = start
        let state = Self.head + start + part([], isLast: true) + devices
        #expect(ScreenStream(Array(state.dropLast(devices.count + 20))) == nil)
        #expect(ScreenStream([1, 2, 3]) == nil)
        func continues(_ later: [UInt8], _ earlier: [UInt8]) throws -> Bool {
            try #require(ScreenStream(later)).continues(#require(ScreenStream(earlier)))
        }
        #expect(try continues(state, state))
        #expect(try !continues(state, [0x52] + state.dropFirst()))
        // A page that would stay as it was.
        let more = Self.head + start + part(page(0, 1, first: true)) + part([], isLast: true) + devices
        #expect(try !continues(state, more))
    }

    @Test("where the first page of a block goes, the next one has its name")
    func names() {
        func named(_ index: UInt64, _ byte: UInt8, _ block: String) -> [UInt8] {
            number(index << 12 | 0x08) + name(block) + [UInt8](repeating: byte, count: Unit.size)
        }
        let two =
            Self.head + start + part(named(0, 1, "a") + named(0, 1, "b"))
            + part(named(0, 2, "a") + page(1, 2) + named(0, 2, "b"), isLast: true) + devices
        let expected =
            Self.head + start + part(named(0, 2, "a") + named(0, 2, "b")) + part(named(1, 2, "a"), isLast: true)
            + devices
        #expect(settle(two) == expected)
    }

    @Test("of what is laid out otherwise nothing is touched, wherever it is cut off")
    func otherwise() {
        let whole = state
        for length in stride(from: 0, to: whole.count - devices.count, by: 97) {
            let cut = Array(whole.prefix(length))
            #expect(settle(cut) == cut)
        }
        var odd = whole
        // An unknown flag in the first page's head.
        let first = Self.head.count + start.count + 5
        odd[first + 7] |= 0x40
        #expect(settle(odd) == odd)
    }
}
