import Testing
import VMSyncCheckpoint
import VMSyncTestSupport

@Suite("Delta")
struct DeltaTests {
    private func encode(from old: [UInt8], to new: [UInt8]) -> [UInt8]? {
        var output = [UInt8](repeating: 0xEE, count: Unit.size)
        let length = old.withUnsafeBytes { old in
            new.withUnsafeBytes { new in output.withUnsafeMutableBytes { Delta.encode(from: old, to: new, into: $0) } }
        }
        return length.map { Array(output.prefix($0)) }
    }

    private func apply(_ delta: [UInt8], to unit: [UInt8]) -> [UInt8]? {
        var unit = unit
        let isWhole = delta.withUnsafeBytes { delta in unit.withUnsafeMutableBytes { Delta.apply(delta, to: $0) } }
        return isWhole ? unit : nil
    }

    private func isValid(_ delta: [UInt8]) -> Bool { delta.withUnsafeBytes { Delta.isValid($0) } }

    private func page(_ random: inout SeededRandom, changing old: [UInt8]) -> [UInt8] {
        var new = old
        for _ in 0..<random.number(1..<60) {
            let start = random.number(0..<Unit.size)
            let end = min(Unit.size, start + random.number(1..<(random.oneIn(8) ? 2000 : 20)))
            for index in start..<end where !random.oneIn(5) { new[index] = UInt8(truncatingIfNeeded: random.next()) }
        }
        return new
    }

    @Test("makes the new page of the old one, once or twice applied", arguments: 0..<8)
    func roundTrip(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var encoded = 0
        for _ in 0..<250 {
            let old = random.bytes(Unit.size)
            let new = page(&random, changing: old)
            guard let delta = encode(from: old, to: new) else { continue }
            encoded += 1
            #expect(delta.count <= Delta.lengthMax)
            #expect(isValid(delta))
            let once = try #require(apply(delta, to: old))
            #expect(once == new)
            #expect(apply(delta, to: once) == new)
        }
        #expect(encoded > 50)
    }

    @Test("a page that was interrupted anywhere comes out right when the delta is applied again")
    func interrupted() throws {
        var random = SeededRandom(seed: 7)
        for _ in 0..<100 {
            let old = random.bytes(Unit.size)
            let new = page(&random, changing: old)
            guard let delta = encode(from: old, to: new) else { continue }
            let torn = random.number(0..<Unit.size)
            #expect(apply(delta, to: Array(new.prefix(torn) + old.dropFirst(torn))) == new)
        }
    }

    @Test("is empty for equal pages")
    func equal() {
        let page = [UInt8](repeating: 3, count: Unit.size)
        #expect(encode(from: page, to: page) == [])
        #expect(apply([], to: page) == page)
    }

    @Test("finds a single byte anywhere in the page")
    func singleBytes() {
        let old = [UInt8](repeating: 0x5A, count: Unit.size)
        for index in 0..<Unit.size {
            var new = old
            new[index] ^= 0x10
            let delta = encode(from: old, to: new)
            #expect(delta?.count ?? 99 <= 4)
            #expect(delta.flatMap { apply($0, to: old) } == new)
        }
    }

    @Test("is given up when it is longer than three quarters of the page")
    func tooLong() {
        var random = SeededRandom(seed: 1)
        let old = random.bytes(Unit.size)
        #expect(encode(from: old, to: random.bytes(Unit.size)) == nil)
        for changed in [Delta.lengthMax - 4, Delta.lengthMax - 3] {
            var new = old
            for index in 0..<changed { new[index] ^= 0xFF }
            #expect((encode(from: old, to: new) == nil) == (changed + 4 > Delta.lengthMax))
        }
    }

    @Test("a run that leaves the page or the delta is refused")
    func overruns() {
        let ten = [UInt8](repeating: 0xFF, count: 9)
        #expect(isValid([0, 1, 9]))
        #expect(!isValid([0, 2, 9]))
        #expect(!isValid([0]))
        #expect(!isValid([0x80]))
        #expect(isValid([0x80, 0x20, 0]))
        #expect(!isValid([0x81, 0x20, 0]))
        #expect(!isValid([0xFF, 0x1F, 2, 1, 1]))
        #expect(isValid([0xFF, 0x1F, 1, 1]))
        #expect(!isValid(ten + [1, 0]))
        #expect(!isValid(ten + [2, 0]))
        #expect(!isValid(ten + [0x80, 0, 0]))
        #expect(!isValid([0] + ten + [1]))
        #expect(!isValid([0xFF, 0x1F, 0, 2, 0]))
    }

    @Test("random bytes never reach beyond the page", arguments: 0..<4)
    func hostile(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<5000 {
            var delta = random.bytes(random.number(0..<40))
            for index in delta.indices where random.oneIn(2) { delta[index] &= 0x1F }
            // A page between two guards, as it lies in memory.
            var memory = [UInt8](repeating: 0, count: 3 * Unit.size)
            let isWhole = memory.withUnsafeMutableBytes { memory in
                delta.withUnsafeBytes {
                    Delta.apply($0, to: UnsafeMutableRawBufferPointer(rebasing: memory[Unit.size..<2 * Unit.size]))
                }
            }
            #expect(isWhole == isValid(delta))
            #expect(memory.prefix(Unit.size).allSatisfy { $0 == 0 } && memory.suffix(Unit.size).allSatisfy { $0 == 0 })
        }
    }
}
