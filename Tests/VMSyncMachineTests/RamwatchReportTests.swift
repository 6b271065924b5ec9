import Testing
import VMSyncCore
import VMSyncMachine
import VMSyncTestSupport

@Suite("The report of ramwatch")
struct RamwatchReportTests {
    private let memory: UInt64 = 16 << 20

    @Test("names the addresses of RAM and of the probe")
    func watching() throws {
        let report = try RamwatchReport(
            text: "watching 140000000000000 16777216 140000100000000 4096\n", memory: memory)
        #expect(report.ram == 140_000_000_000_000..<140_000_016_777_216)
        #expect(report.probe == 140_000_100_000_000..<140_000_100_008_192)
    }

    @Test("a failed step comes with the reason of the system")
    func failed() {
        let error = #expect(throws: VMSyncError.self) {
            try RamwatchReport(text: "failed features 22\n", memory: memory)
        }
        #expect(error?.message.contains("features: Invalid argument") == true)
    }

    @Test(
        "anything else is refused",
        arguments: [
            "", "\n", "watching", "failed", "failed x", "failed x y z", "watching 1 2 3 4",
            "watching 1 16777216 3 16384",
            "watching -1 16777216 3 4096", "watching 1 16777217 3 4096", "watching 1 16777216 3 4096 5",
            "watching 1 x 16777216 3 4096", "watching 18446744073709551615 16777216 3 4096",
            "watching 1 16777216 18446744073709551615 4096", "watching 99999999999999999999 16777216 3 4096",
            "WATCHING 1 16777216 3 4096", String(repeating: "x", count: 1_000),
            "failed " + String(repeating: "x", count: 1_000) + " 1",
        ])
    func hostile(text: String) {
        let error = #expect(throws: VMSyncError.self) { try RamwatchReport(text: text, memory: memory) }
        #expect(error?.message.count ?? 0 < 400)
    }

    @Test("a QEMU without the library says so")
    func missing() throws {
        try TestFolder.with { folder in
            let error = #expect(throws: VMSyncError.self) {
                try RamwatchReport(file: folder + "/none", memory: memory)
            }
            #expect(error?.message.contains("libramwatch.so") == true)
        }
    }
}
