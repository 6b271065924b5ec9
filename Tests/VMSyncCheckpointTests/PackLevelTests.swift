import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

@Suite("How strongly a pack is compressed")
struct PackLevelTests {
    /// A pack of pages that are noise, so that what is written is as long as what was compressed.
    private func write(_ pages: Int, with workspace: PackWorkspace) throws -> PackWriter {
        var random = SeededRandom(seed: 8)
        let state = random.bytes(5000)
        let writer = try PackWriter(workspace) { (_: UnsafeRawBufferPointer) throws(VMSyncError) in }
        try writer.addDeviceState(state)
        for index in 0..<pages {
            try random.bytes(Unit.size).withUnsafeBytes { try writer.addMemory(index, $0, parent: nil) }
        }
        _ = try writer.finish(.sample(.sample(memory: 32 << 20), deviceState: state))
        return writer
    }

    @Test("is asked for each section, with the bytes of the pack so far")
    func sections() throws {
        var asked: [Int] = []
        let workspace = PackWorkspace()
        workspace.level = { bytes in
            asked.append(bytes)
            return bytes < 3 << 20 ? 6 : 1
        }
        let pages = 1200
        let writer = try write(pages, with: workspace)
        #expect(asked.count == writer.frames.count + 1, "the device state is asked for too")
        #expect(asked == asked.sorted())
        #expect(try #require(asked.last) >= pages * Unit.size + 5000)
        #expect(writer.frames.map(\.level) == asked.dropLast().map { $0 < 3 << 20 ? 6 : 1 })
        #expect(Set(writer.frames.map(\.level)) == [1, 6])
        #expect(writer.frames.reduce(0) { $0 + $1.raw } == writer.tally.sectionsRaw)
        #expect(writer.frames.reduce(0) { $0 + $1.stored } == writer.tally.sectionsStored)
    }

    @Test("the memory of a strong level is given back, that of a fast one stays")
    func memory() throws {
        let workspace = PackWorkspace()
        _ = try write(600, with: workspace)
        let fast = workspace.compressorMemory
        #expect(fast > 1 << 20)
        workspace.level = { _ in 19 }
        _ = try write(600, with: workspace)
        #expect(workspace.compressorMemory < fast)
    }
}
