import Testing
import VMSyncCheckpoint
import VMSyncReplica
import VMSyncTestSupport

@Suite("The pages of the parent")
struct ParentPagesTests {
    @Test("are what was kept last, or unknown, never anything else", arguments: 0..<3)
    func neverWrong(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let units = 40_000
        let pages = ParentPages(memoryUnits: units)
        var kept: [Int: UInt8] = [:]
        var hits = 0
        for _ in 0..<30_000 {
            let index = random.oneIn(2) ? random.number(0..<100) : random.number(0..<units)
            switch random.number(0..<20) {
            case 0: pages.forget(index); kept[index] = nil
            case 1..<12:
                let value = UInt8(truncatingIfNeeded: random.next())
                [UInt8](repeating: value, count: Unit.size).withUnsafeBytes { pages.keep(index, $0) }
                kept[index] = value
            default:
                guard let page = pages.page(index) else { continue }
                hits += 1
                #expect(page.first == kept[index] && page.last == kept[index])
            }
        }
        #expect(hits > 3000)
        pages.forgetAll()
        #expect((0..<units).allSatisfy { pages.page($0) == nil })
    }

    @Test("that are used again outlive those that aren't")
    func secondChance() {
        let pages = ParentPages(memoryUnits: 100_000)
        let page = [UInt8](repeating: 1, count: Unit.size)
        page.withUnsafeBytes { page in
            for index in 0..<10 { pages.keep(index, page) }
            for index in 10..<50_000 {
                pages.keep(index, page)
                for hot in 0..<10 { _ = pages.page(hot) }
            }
        }
        #expect((0..<10).allSatisfy { pages.page($0) != nil })
        #expect(pages.page(20) == nil)
    }
}
