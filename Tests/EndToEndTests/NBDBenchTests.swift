import Foundation
import Testing
import VMSyncStudy

/// The measurement of the disks, as short as it can be: that it runs, with all servers, and leaves nothing behind.
@Suite struct NBDBenchTests {
    @Test func everyServerIsMeasuredUnderEveryWorkload() async throws {
        let folder = "/tmp/vmsync-bench-\(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var bench = NBDBench { _ in }
        bench.rounds = 1
        bench.secondsPerRun = 1
        bench.diskBytes = 16 << 20
        bench.folder = folder
        let report = try await bench.run()
        #expect(report.servers.count == 4)
        #expect(report.rows.count == 6)
        for row in report.rows {
            #expect(row.medians.keys.sorted() == report.servers.map(\.name).sorted())
            #expect(row.medians.values.allSatisfy { $0 > 0 })
            #expect(row.ours_over.count == 3)
            #expect(report.text.contains(row.workload))
        }
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder).isEmpty)
    }
}
