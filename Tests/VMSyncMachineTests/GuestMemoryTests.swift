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

    @Test("captured pages stay what they were, in order")
    func captured() throws {
        try with { memory in
            let captured = CapturedPages()
            for page in 0..<256 { memory.writablePage(page)[0] = UInt8(page) }
            captured.capture([2..<4, 200..<201], from: memory)
            for page in 0..<256 { memory.writablePage(page)[0] = 0 }
            var seen: [Int: UInt8] = [:]
            captured.forEach { index, page in seen[index] = page[0] }
            #expect(captured.count == 3)
            #expect(seen == [2: 2, 3: 3, 200: 200])
            captured.forget()
            captured.forEach { index, _ in Issue.record("page \(index) is left over") }
        }
    }

    @Test("many captured pages are followed by few")
    func capturedGrowth() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            let memory = try GuestMemory(path: folder + "/ram", size: 64 << 20)
            let captured = CapturedPages()
            for count in [1, 16384, 3, 5000, 1, 6000] {
                memory.writablePage(count - 1)[9] = UInt8(truncatingIfNeeded: count)
                captured.capture([0..<count], from: memory)
                var last: UInt8 = 0
                captured.forEach { index, page in if index == count - 1 { last = page[9] } }
                #expect(last == UInt8(truncatingIfNeeded: count))
                captured.forget()
            }
        }
    }
}
