import NBDTestSupport
import Testing
import VMSyncCore
import VMSyncMachine

/// Random histories of a disk, step by step beside a plain array of bytes. A failure names its seed.
@Suite struct OverlayModelTests {
    @Test(arguments: 1...6 as ClosedRange<UInt64>) func aDiskDoesWhatAnArrayDoes(seed: UInt64) throws {
        var model = try DiskModel(seed: seed)
        for _ in 0..<250 { try model.takeStep() }
        try model.check()
    }
}

/// One disk, what it must hold, and the history so far.
private struct DiskModel {
    /// Parts of 64 blocks are locked on their own: the disk spans three, and ends within a block and beyond its base.
    private static let size = 150 * 4096 + 1536
    private static let baseSize = 120 * 4096 + 700

    private let seed: UInt64
    private var random: SeededGenerator
    private let fixture: DiskFixture
    private var disk: OverlayDisk?
    private var boots = 0
    private var step = 0

    private var content: [UInt8]
    /// Every content that a block has had since the last flush, the flushed one first.
    private var sinceFlush: [Int: [[UInt8]]] = [:]
    /// The step at which a block was last written, and at which its content last changed; 0 when it is clean.
    private var touched: [Int]
    private var changed: [Int]
    private var sealedAt = 0
    private var frozen: (disk: FrozenDisk, content: [UInt8], step: Int)?

    init(seed: UInt64) throws {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        fixture = try DiskFixture(size: Self.size, baseSize: Self.baseSize, seed: seed)
        content = fixture.blank
        let blocks = (Self.size + 4095) / 4096
        touched = Array(repeating: 0, count: blocks)
        changed = Array(repeating: 0, count: blocks)
        disk = try fixture.open(bootID: "boot 0")
    }

    mutating func takeStep() throws {
        step += 1
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<40: try write()
        case 40..<55: try zero()
        case 55..<62: try flush()
        case 62..<70: try freezeOrRelease()
        case 70..<80: try readFrozen()
        case 80..<88: try readSome()
        case 88..<92: try reopen()
        case 92..<95: try losePower()
        case 95..<99: try apply()
        default: try reset()
        }
    }

    /// The whole content, and the dirty set within its bounds.
    func check() throws {
        let disk = try #require(disk)
        // Whether they are equal, and not the two contents, stands in the report of a failure.
        let isRight = try disk.bytes() == content
        #expect(isRight, "seed \(seed) step \(step)")
        #expect(disk.dirtyCount >= changed.count { $0 > sealedAt }, "seed \(seed) step \(step)")
        #expect(disk.dirtyCount <= touched.count { $0 > sealedAt }, "seed \(seed) step \(step)")
    }

    // MARK: - Steps

    private mutating func write() throws {
        let range = someRange()
        let bytes = random.bytes(range.count)
        let fua = Int.random(in: 0..<10, using: &random) == 0
        try disk?.store(bytes, at: UInt64(range.lowerBound), fua: fua)
        replace(range, with: bytes)
        if fua { sinceFlush = [:] }
    }

    private mutating func zero() throws {
        let range = someRange()
        let mayTrim = Bool.random(using: &random)
        try disk?.zero(at: UInt64(range.lowerBound), length: UInt64(range.count), mayTrim: mayTrim)
        replace(range, with: [UInt8](repeating: 0, count: range.count))
    }

    private mutating func flush() throws {
        try disk?.flush()
        sinceFlush = [:]
    }

    private mutating func freezeOrRelease() throws {
        guard let frozen else { return try freeze() }
        if Bool.random(using: &random) {
            disk?.seal(upTo: frozen.disk.upTo)
            sealedAt = frozen.step
        }
        frozen.disk.release()
        self.frozen = nil
        try check()
    }

    private mutating func freeze() throws {
        let disk = try #require(disk)
        let frozen = try disk.freeze(Int.random(in: 0..<4, using: &random) == 0 ? .present : .dirty)
        self.frozen = (frozen, content, step)
        let blocks = Set(frozen.blocks.map { Int($0.index) })
        #expect(blocks.count == frozen.blocks.count, "seed \(seed) step \(step): a block twice")
        for block in changed.indices where changed[block] > sealedAt {
            #expect(blocks.contains(block), "seed \(seed) step \(step): block \(block) is missing")
        }
        // A block that was zeroed twice keeps its first number, so its last touch says nothing.
        let order = frozen.blocks.map { Int($0.index) }.filter { touched[$0] == changed[$0] }.map { touched[$0] }
        #expect(order == order.sorted(), "seed \(seed) step \(step): not in order of modification")
    }

    private func readFrozen() throws {
        guard let frozen else { return }
        for block in frozen.disk.blocks {
            let expected = Self.padded(frozen.content[Self.bytes(Int(block.index))])
            let isAsFrozen = try frozen.disk.bytes(block) == expected
            #expect(isAsFrozen, "seed \(seed) step \(step) block \(block.index)")
        }
    }

    private mutating func readSome() throws {
        let range = someRange()
        let isRight = try disk?.bytes(at: UInt64(range.lowerBound), range.count) == Array(content[range])
        #expect(isRight, "seed \(seed) step \(step)")
    }

    /// The process is gone, the host isn't, or was shut down in good order. Nothing that was written is lost.
    private mutating func reopen() throws {
        frozen = nil
        if Int.random(in: 0..<3, using: &random) == 0 {
            try disk?.close()
            sinceFlush = [:]
            boots += 1
        }
        disk = nil
        disk = try fixture.open(bootID: "boot \(boots)")
        #expect(disk?.recoveredFromLog == false)
        try check()
    }

    /// The host is gone. A block has some content that it had since the last flush.
    private mutating func losePower() throws {
        frozen = nil
        disk = nil
        boots += 1
        let disk = try fixture.open(bootID: "boot \(boots)")
        self.disk = disk
        #expect(disk.recoveredFromLog)
        for block in touched.indices {
            let found = try Array(disk.block(UInt64(block))[..<Self.bytes(block).count])
            let possible = sinceFlush[block, default: []] + [Array(content[Self.bytes(block)])]
            let isPossible = possible.contains(found)
            #expect(isPossible, "seed \(seed) step \(step) block \(block)")
            content.replaceSubrange(Self.bytes(block), with: found)
        }
        countAllAsModified(disk)
        // What was found may be gone again at the next power loss, unless it is flushed.
        try flush()
        try check()
    }

    private mutating func countAllAsModified(_ disk: OverlayDisk) {
        sealedAt = 0
        for block in touched.indices { (touched[block], changed[block]) = (0, 0) }
        disk.forEachPresentBlock { block, _ in (touched[Int(block)], changed[Int(block)]) = (step, step) }
        for block in touched.indices where content[Self.bytes(block)] != fixture.blank[Self.bytes(block)] {
            #expect(touched[block] == step, "seed \(seed) step \(step): block \(block) isn't the base's, nor present")
        }
    }

    private mutating func apply() throws {
        guard frozen == nil else { return }
        let block = Int.random(in: touched.indices, using: &random)
        let bytes = Bool.random(using: &random) ? random.bytes(4096) : nil
        if let bytes {
            try disk?.apply(block: UInt64(block), bytes: bytes)
        } else {
            try disk?.apply(block: UInt64(block), content: nil)
        }
        let range = Self.bytes(block)
        replace(range, with: Array((bytes ?? [UInt8](repeating: 0, count: 4096))[..<range.count]))
        (touched[block], changed[block]) = (0, 0)
    }

    private mutating func reset() throws {
        guard frozen == nil else { return }
        try disk?.reset()
        content = fixture.blank
        sinceFlush = [:]
        for block in touched.indices { (touched[block], changed[block]) = (0, 0) }
        try check()
    }

    // MARK: - Bytes

    private mutating func replace(_ range: Range<Int>, with bytes: [UInt8]) {
        for block in range.lowerBound / 4096...(range.upperBound - 1) / 4096 {
            let old = Array(content[Self.bytes(block)])
            sinceFlush[block, default: []].append(old)
            let part = range.clamped(to: Self.bytes(block))
            let new = bytes[part.lowerBound - range.lowerBound..<part.upperBound - range.lowerBound]
            touched[block] = step
            if !content[part].elementsEqual(new) { changed[block] = step }
            content.replaceSubrange(part, with: new)
        }
    }

    /// Small or large, aligned or not, now and then up to the end.
    private mutating func someRange() -> Range<Int> {
        let start = Int.random(in: 0..<Self.size, using: &random)
        let length = Int.random(in: 1...(Bool.random(using: &random) ? 6000 : 90 * 4096), using: &random)
        let end = Int.random(in: 0..<8, using: &random) == 0 ? Self.size : min(Self.size, start + length)
        guard Bool.random(using: &random) else { return start..<end }
        let aligned = start / 4096 * 4096
        return aligned..<max(min(Self.size, aligned + 4096), end == Self.size ? end : end / 4096 * 4096)
    }

    private static func bytes(_ block: Int) -> Range<Int> { block * 4096..<min(size, (block + 1) * 4096) }

    private static func padded(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        bytes + [UInt8](repeating: 0, count: 4096 - bytes.count)
    }
}
