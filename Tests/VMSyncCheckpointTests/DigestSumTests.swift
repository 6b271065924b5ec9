import Testing
import VMSyncCheckpoint
import VMSyncTestSupport

@Suite("Digest sums")
struct DigestSumTests {
    @Test("kept incrementally they equal the sum over all pages", arguments: 0..<4)
    func incremental(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var pages = [[UInt8]](repeating: [UInt8](repeating: 0, count: Unit.size), count: 64)
        var sum = UInt128(0)
        for _ in 0..<500 {
            let index = random.number(0..<pages.count)
            let old = pages[index].withUnsafeBytes { UnitHash.memory(index, $0) }
            if random.oneIn(4) {
                pages[index] = [UInt8](repeating: 0, count: Unit.size)
            } else {
                pages[index][random.number(0..<Unit.size)] &+= 1
            }
            let new = pages[index].withUnsafeBytes { UnitHash.memory(index, $0) }
            sum = sum &- old.value &+ new.value
        }
        let recomputed = pages.indices.reduce(UInt128(0)) { sum, index in
            sum &+ pages[index].withUnsafeBytes { UnitHash.memory(index, $0).value }
        }
        #expect(sum == recomputed)
    }
}
