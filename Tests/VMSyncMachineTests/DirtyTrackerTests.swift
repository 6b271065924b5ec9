import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncTestSupport

@Suite("The dirty tracker")
struct DirtyTrackerTests {
    @Test("refuses memory that no userfaultfd watches, instead of reporting nothing written")
    func unwatched() throws {
        let pages = mmap(nil, 4 * Unit.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        let start = UInt64(UInt(bitPattern: pages))
        defer { munmap(pages, 4 * Unit.size) }
        let memory = UInt64(2 * Unit.size)
        let report = try RamwatchReport(text: "watching \(start) \(memory) \(start + memory) 4096", memory: memory)
        let error = #expect(throws: VMSyncError.self) { try DirtyTracker(pid: getpid(), report: report) }
        #expect(error?.code == .io)
    }

    @Test("lists the pages of a process that writes all the time in order, each once", .timeLimit(.minutes(2)))
    func inOrder() async throws {
        try await TestFolder.with(in: TestFolder.shared) { folder in
            let pages = 16_384
            let writer = try await MemoryWriter.start(memory: UInt64(pages * Unit.size), in: folder)
            defer { writer.stop() }
            let tracker = try DirtyTracker(pid: writer.pid, report: writer.report)
            var runs: [Range<Int>] = []
            var (rest, longLists) = (Duration.milliseconds(5), 0)
            while longLists < 20 {
                try await Task.sleep(for: rest)
                try tracker.takeWritten(into: &runs)
                // Linux gathers 512 at a time. There are as many neither after a few writes nor when all is written.
                let written = runs.reduce(0) { $0 + $1.count }
                if runs.count > 512 { longLists += 1 } else { rest = written > pages / 2 ? rest / 2 : rest * 2 }
                try #require(rest < .seconds(10), "it writes nothing")
                for (run, next) in zip(runs, runs.dropFirst()) where run.upperBound > next.lowerBound {
                    Issue.record("after \(run) comes \(next)")
                }
            }
        }
    }

    @Test("finds what was written again and again until it is taken, and then no more", .timeLimit(.minutes(2)))
    func findAndTake() async throws {
        try await TestFolder.with(in: TestFolder.shared) { folder in
            let writer = try await MemoryWriter.start(memory: 64 << 20, in: folder)
            defer { writer.stop() }
            let tracker = try DirtyTracker(pid: writer.pid, report: writer.report)
            try tracker.arm()
            var runs: [Range<Int>] = []
            // On a busy machine it doesn't run at once.
            while runs.isEmpty {
                try await Task.sleep(for: .milliseconds(1))
                try tracker.findWritten(into: &runs)
            }
            try await writer.pause()
            try tracker.findWritten(into: &runs)
            let written = runs
            try tracker.findWritten(into: &runs)
            #expect(runs == written)
            try tracker.takeWritten(into: &runs)
            #expect(runs == written)
            try tracker.findWritten(into: &runs)
            #expect(runs.isEmpty)
        }
    }

    @Test("refuses a process that isn't there")
    func noProcess() throws {
        let report = try RamwatchReport(text: "watching 4096 8192 4096 4096", memory: 8192)
        #expect(throws: VMSyncError.self) { try DirtyTracker(pid: .max, report: report) }
    }
}
