import Foundation
import Testing
import VMSyncCore
import VMSyncStudy
import VMSyncTestSupport

@Suite("What a process holds in memory")
struct HostMemoryTests {
    @Test("is all of it, but for one file")
    func counts() throws {
        let count = 8 << 20
        try TestFolder.with { folder in
            let path = "\(folder)/mapped"
            try Data(count: count).write(to: URL(fileURLWithPath: path))
            let maps = try MappedFile.withWritable(path) { bytes throws(VMSyncError) in
                _ = unsafe memset(bytes.baseAddress!, 1, count)
                return try HostMemory.mapsOfThisProcess()
            }
            // By one look: tests beside this one free and allocate too.
            let (all, others) = (
                HostMemory.bytes(in: maps, without: "/none"), HostMemory.bytes(in: maps, without: path)
            )
            #expect(all - others == count)
            #expect(others > 0)
        }
    }
}
