import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncTestSupport

@Suite("The memory of a VM")
struct GuestMemoryTests {
    private let size: UInt64 = 1 << 20

    private func with(_ body: (GuestMemory) throws -> Void) throws {
        try TestFolder.with(in: TestFolder.shared) { try body(GuestMemory(path: $0 + "/ram", size: size)) }
    }

    @Test("is zero and takes no space at first")
    func fresh() throws {
        try with { memory in
            #expect(memory.units == 256)
            #expect(memory.populatedRuns().isEmpty)
            #expect(isZero(memory.pages(0..<256)))
        }
    }

    @Test("tells which pages hold something")
    func populated() throws {
        try with { memory in
            for page in [0, 5, 6, 255] { memory.writablePage(page)[17] = 1 }
            #expect(memory.populatedRuns() == [0..<1, 5..<7, 255..<256])
            memory.punch(5)
            #expect(memory.populatedRuns() == [0..<1, 6..<7, 255..<256])
            #expect(isZero(memory.page(5)))
            try memory.clear()
            #expect(memory.populatedRuns().isEmpty)
            #expect(memory.page(255)[17] == 0)
        }
    }

    @Test("is the same file for all who map it")
    func shared() throws {
        try with { memory in
            let other = try GuestMemory(path: memory.path, size: size)
            memory.writablePage(3)[1] = 9
            #expect(other.page(3)[1] == 9)
        }
    }

    @Test("a file of another size is not taken for it")
    func otherSize() throws {
        try with { memory in
            let error = #expect(throws: VMSyncError.self) { try GuestMemory(path: memory.path, size: 2 * size) }
            #expect(error?.code == .corrupt)
        }
    }

    @Test("more than the host has is refused with what there is")
    func tooMuch() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            let error = #expect(throws: VMSyncError.self) {
                try GuestMemory(path: folder + "/ram", size: Limits.memoryMax)
            }
            #expect(error?.code == .noSpace)
            #expect(error?.hint != nil)
        }
    }

    @Test("is read without filling its holes")
    func readHoles() throws {
        try with { memory in
            for page in [3, 100] { memory.writablePage(page)[5] = 7 }
            var sum = 0
            var seen: [Int] = []
            try memory.forEach(0..<256) { index, page in
                seen.append(index)
                sum += page.reduce(0) { $0 + Int($1) }
            }
            #expect(seen == Array(0..<256))
            #expect(sum == 14)
            #expect(memory.populatedRuns() == [3..<4, 100..<101])
            let pieces = memory.pieces(of: 2..<256)
            #expect(pieces.map(\.pages) == [2..<3, 3..<4, 4..<100, 100..<101, 101..<256])
            #expect(pieces.map(\.isHole) == [true, false, true, false, true])
            #expect(memory.pieces(of: 4..<90).map(\.pages) == [4..<90])
        }
    }

    @Test("captured pages stay what they were, in order")
    func captured() throws {
        try with { memory in
            let captured = CapturedPages(of: memory)
            for page in 0..<256 { memory.writablePage(page)[0] = UInt8(page) }
            try captured.capture([2..<4, 200..<201])
            for page in 0..<256 { memory.writablePage(page)[0] = 0 }
            var seen: [Int: UInt8] = [:]
            try captured.forEach { index, page in seen[index] = page[0] }
            #expect(captured.isCopied)
            #expect(captured.count == 3)
            #expect(seen == [2: 2, 3: 3, 200: 200])
            captured.forget()
            try captured.forEach { index, _ in Issue.record("page \(index) is left over") }
        }
    }

    @Test("pages captured anew are as they are then, the others as they were", arguments: 0..<40 as Range<UInt64>)
    func recaptured(seed: UInt64) throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            let memory = try GuestMemory(path: folder + "/ram", size: 64 << 20)
            var random = SeededRandom(seed: seed)
            func runs() -> [Range<Int>] {
                let starts = Set((0..<12).map { _ in Int.random(in: 0..<40, using: &random) * 50 }).sorted()
                return starts.map { $0..<$0 + Int.random(in: 1...50, using: &random) }
            }
            func write(_ value: UInt8, _ runs: [Range<Int>]) {
                for page in runs.joined() where Bool.random(using: &random) { memory.writablePage(page)[7] = value }
            }
            let captured = CapturedPages(of: memory)
            let (early, late, last) = (runs(), runs(), runs())
            write(1, early)
            try captured.capture(early)
            var expected: [Int: UInt8] = [:]
            for page in early.joined() { expected[page] = memory.page(page)[7] }
            for (value, runs) in [(UInt8(2), late), (3, last)] {
                write(value, runs)
                try captured.recapture(runs)
                for page in runs.joined() { expected[page] = memory.page(page)[7] }
            }
            write(9, [0..<2000])
            var seen: [(Int, UInt8)] = []
            try captured.forEach { index, page in seen.append((index, page[7])) }
            #expect(captured.isCopied)
            #expect(seen.map(\.0) == expected.keys.sorted())
            for (index, value) in seen where value != expected[index] {
                Issue.record("page \(index) is \(value), not \(expected[index] ?? 0)")
            }
            for (index, value) in seen {
                if let page = captured.page(index) { #expect(page[7] == value) } else { #expect(value == 0) }
            }
        }
    }

    @Test("pages captured anew may become more than is copied")
    func recapturedBound() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            let memory = try GuestMemory(path: folder + "/ram", size: 64 << 20)
            for index in 0..<memory.units { memory.writablePage(index)[9] = 1 }
            let captured = CapturedPages(of: memory)
            try captured.capture([0..<4000])
            try captured.recapture([3990..<4096])
            #expect(captured.isCopied)
            try captured.recapture([4096..<4097])
            #expect(!captured.isCopied)
            for index in 0..<memory.units { memory.writablePage(index)[9] = 2 }
            var pages = 0
            try captured.forEach { index, page in
                #expect(index == pages && page[9] == 2)
                pages += 1
            }
            #expect(pages == 4097)
        }
    }

    @Test("more than a bounded part is not copied but read when it is asked for; few pages are copied again")
    func capturedBound() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            let memory = try GuestMemory(path: folder + "/ram", size: 64 << 20)
            let captured = CapturedPages(of: memory)
            for index in 0..<memory.units { memory.writablePage(index)[9] = UInt8(truncatingIfNeeded: index) }
            for (count, isCopied) in [(1, true), (16384, false), (3, true), (4096, true), (4097, false)] {
                let runs = [0..<count / 2, count / 2..<count].filter { !$0.isEmpty }
                try captured.capture(runs)
                #expect(captured.isCopied == isCopied)
                memory.writablePage(0)[9] = 255
                var next = 0
                try captured.forEach { index, page in
                    #expect(index == next)
                    let expected = index == 0 && !isCopied ? 255 : UInt8(truncatingIfNeeded: index)
                    if page[9] != expected { Issue.record("page \(index) holds \(page[9])") }
                    next += 1
                }
                #expect(next == count)
                memory.writablePage(0)[9] = 0
                captured.forget()
            }
        }
    }

    @Test("holes among captured pages are zero and take no copy, however many")
    func capturedHoles() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            let memory = try GuestMemory(path: folder + "/ram", size: 64 << 20)
            let captured = CapturedPages(of: memory)
            for index in [0, 9000] { memory.writablePage(index)[9] = 5 }
            try captured.capture([0..<16384])
            #expect(captured.isCopied)
            #expect(captured.count == 2)
            var indices = 0
            var written: [Int] = []
            try captured.forEach { index, page in
                indices += 1
                if !isZero(page) { written.append(index) }
            }
            #expect(indices == 16384)
            #expect(written == [0, 9000])
            #expect(memory.populatedRuns() == [0..<1, 9000..<9001])
        }
    }
}
