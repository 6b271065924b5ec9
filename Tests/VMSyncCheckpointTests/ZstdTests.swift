import Testing
import VMSyncCheckpoint
import VMSyncCore

@Suite struct ZstdTests {
    @Test func aFrameIsReadWholeOrNotAtAll() throws {
        let bytes = [UInt8](repeating: 7, count: 1_000)
        let frame = try ZstdCompressor(level: 19).frame(of: bytes)
        #expect(frame.count < 50)
        #expect(try ZstdDecompressor().bytes(of: frame, limit: 1_000) == bytes)
        #expect(throws: VMSyncError.self) { try ZstdDecompressor().bytes(of: frame, limit: 999) }
        #expect(throws: VMSyncError.self) { try ZstdDecompressor().bytes(of: Array(frame.dropLast()), limit: 1_000) }
        #expect(throws: VMSyncError.self) { try ZstdDecompressor().bytes(of: frame + [0], limit: 1_000) }
    }
}
