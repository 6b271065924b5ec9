import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncReplica
import VMSyncTestSupport

@Suite("Pages of a merge in a file") struct PageFileTests {
    /// More than one map holds.
    private static let count = 16_384 + 100

    @Test("stay what they were, where they were, and leave nothing behind") func keeps() throws {
        try TestFolder.with { folder in
            var random = SeededRandom(seed: 1)
            let pages = (0..<50).map { _ in random.bytes(Unit.size) }
            let file = try PageFile(in: folder)
            for number in 0..<Self.count {
                #expect(try pages[number % pages.count].withRawBytes { try file.append($0) } == number)
            }
            for number in [0, 1, 49, 16_383, 16_384, Self.count - 1] {
                #expect(Array(file.page(number)) == pages[number % pages.count])
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
        }
    }

    @Test("need a folder that is there") func noFolder() {
        #expect(throws: VMSyncError.self) { try PageFile(in: "/nowhere") }
    }
}
