import Foundation
import Testing
import VMSyncCore

/// What can't fit is refused before anything is written; on the real file system of the test.
@Suite("Free space")
struct FreeSpaceTests {
    private let folder = NSTemporaryDirectory()

    @Test func moreThanThereIsIsRefusedWithBothNumbersAndWhatToDo() throws {
        let wanted = try FreeSpace.bytes(at: folder) + (1 << 50)
        let error = #expect(throws: VMSyncError.self) {
            try FreeSpace.require(wanted, for: "the image", at: folder, hint: "free some space there")
        }
        #expect(error?.code == .noSpace)
        #expect(error?.message.contains("the image needs \(ByteCount(wanted))") == true)
        #expect(error?.message.contains("has room for") == true)
        #expect(error?.hint == "free some space there")
    }

    @Test func whatFitsPasses() throws {
        #expect(try FreeSpace.bytes(at: folder) > 0)
        try FreeSpace.require(1, for: "the image", at: folder, hint: "")
    }

    @Test func aPlaceThatIsNotThereSaysSo() {
        let error = #expect(throws: VMSyncError.self) { try FreeSpace.bytes(at: folder + "/no-such-place") }
        #expect(error?.code == .notFound)
    }
}
