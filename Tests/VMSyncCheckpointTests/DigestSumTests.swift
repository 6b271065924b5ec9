import Testing
import VMSyncCheckpoint
import VMSyncTestSupport

@Suite("Digest sums")
struct DigestSumTests {
    private func term(_ page: [UInt8], at index: Int) -> UInt128 {
        UnitHash.placed(page.withUnsafeBytes { UnitHash.page($0) }, at: index).value
    }

    @Test("kept incrementally they equal the sum over all pages", arguments: 0..<4)
    func incremental(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var pages = [[UInt8]](repeating: [UInt8](repeating: 0, count: Unit.size), count: 64)
        var sum = UInt128(0)
        for _ in 0..<500 {
            let index = random.number(0..<pages.count)
            let old = term(pages[index], at: index)
            if random.oneIn(4) {
                pages[index] = [UInt8](repeating: 0, count: Unit.size)
            } else {
                pages[index][random.number(0..<Unit.size)] &+= 1
            }
            sum = sum &- old &+ term(pages[index], at: index)
        }
        #expect(sum == pages.indices.reduce(UInt128(0)) { $0 &+ term(pages[$1], at: $1) })
    }

    @Test("two pages that change places change the sum")
    func exchanged() {
        var random = SeededRandom(seed: 2)
        for _ in 0..<1000 {
            let (first, second) = (Hash128(value: random.next128()), Hash128(value: random.next128()))
            let (here, there) = (random.number(0..<1 << 28), random.number(0..<1 << 28))
            guard here != there else { continue }
            let sum = UnitHash.placed(first, at: here).value &+ UnitHash.placed(second, at: there).value
            #expect(sum != UnitHash.placed(second, at: here).value &+ UnitHash.placed(first, at: there).value)
        }
    }
}

extension SeededRandom {
    fileprivate mutating func next128() -> UInt128 { UInt128(next()) << 64 | UInt128(next()) }
}
