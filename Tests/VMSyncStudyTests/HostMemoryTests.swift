import Testing
import VMSyncStudy

@Suite("What a process holds in memory")
struct HostMemoryTests {
    @Test("counts all of it")
    func grows() throws {
        let before = try HostMemory.ofThisProcess(without: "/none")
        let count = 64 << 20
        let bytes = [UInt8](repeating: 1, count: count)
        let after = try HostMemory.ofThisProcess(without: "/none")
        #expect(bytes[count - 1] == 1)
        // Tests beside this one free and allocate too.
        #expect(after - before > count / 2)
    }
}
