import Foundation
import Testing
import VMSyncStudy
import VMSyncTestSupport

@Suite struct GuestFactsTests {
    private static func with(_ body: (String, FileHandle) throws -> Void) throws {
        try TestFolder.with { folder in
            let path = folder + "/console.log"
            try Data().write(to: URL(filePath: path))
            try body(path, #require(FileHandle(forWritingAtPath: path)))
        }
    }

    private static func write(_ text: String, to log: FileHandle) throws { try log.write(contentsOf: Data(text.utf8)) }

    @Test func aLineIsAFactOnceItHasEnded() throws {
        try Self.with { path, log in
            var facts = GuestFacts(path: path, earlier: .max)
            try Self.write("booting\nvmsync-desktop: ready\r\nvmsync-desk", to: log)
            try facts.read()
            #expect(facts.all == ["ready"])
            try Self.write("top: fact load 1\n\n[   3.2] vmsync-desktop: fact load 2\n", to: log)
            try facts.read()
            try facts.read()
            #expect(facts.all == ["ready", "fact load 1", "fact load 2"])
        }
    }

    @Test func whatWasToldEarlierIsLeftOutAsFarAsAsked() throws {
        try Self.with { path, log in
            let line = "vmsync-desktop: fact load 100\n"
            try Self.write(String(repeating: line, count: 10), to: log)
            for (earlier, lines) in [(0, 0), (line.utf8.count, 1), (line.utf8.count + 20, 1), (1 << 20, 10)] {
                var facts = GuestFacts(path: path, earlier: UInt64(earlier))
                try facts.read()
                #expect(facts.all.count == lines)
            }
        }
    }
}
