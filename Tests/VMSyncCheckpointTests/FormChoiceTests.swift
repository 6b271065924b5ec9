import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncTestSupport

/// The writer picks the form of a page by an estimate: here are pages of which everybody knows which form is best.
@Suite("The form that a page gets")
struct FormChoiceTests {
    /// What a pack of this one page is made of, where its parent is `parent`.
    private func tally(_ page: [UInt8], parent: [UInt8]? = nil) throws -> PackTally {
        let writer = try PackWriter { (_: UnsafeRawBufferPointer) throws(VMSyncError) in }
        try page.withUnsafeBytes { page in
            if let parent {
                try parent.withUnsafeBytes { try writer.addMemory(0, page, parent: $0) }
            } else {
                try writer.addMemory(0, page, parent: nil)
            }
        }
        return writer.tally
    }

    @Test("a picture goes as pixels")
    func picture() throws {
        // A gradient with a little noise, in blue, green, red and nothing.
        var random = SeededRandom(seed: 1)
        let page = (0..<Unit.size).map { byte -> UInt8 in
            guard byte % 4 < 3 else { return 0 }
            let colour = byte / 16 * (byte % 4 + 1) + Int(random.next() % 3)
            return UInt8(truncatingIfNeeded: colour)
        }
        #expect(try tally(page).pixels == 1)
    }

    @Test("a plane of brightness goes as samples")
    func plane() throws {
        var random = SeededRandom(seed: 2)
        var value: UInt8 = 128
        let page = (0..<Unit.size).map { _ -> UInt8 in
            value = value &+ UInt8(random.next() % 5) &- 2
            return value
        }
        #expect(try tally(page).samples == 1)
    }

    @Test("a text goes as it is")
    func text() throws {
        let words = ["checkpoint ", "of ", "a ", "running ", "guest, ", "and ", "no ", "program ", "notices. "]
        var random = SeededRandom(seed: 3)
        var text: [UInt8] = []
        while text.count < Unit.size { text += Array(words[Int(random.next() % UInt64(words.count))].utf8) }
        #expect(try tally(Array(text.prefix(Unit.size))).whole == 1)
    }

    @Test("a page that changed a little goes as runs, one that changed everywhere doesn't")
    func runs() throws {
        var random = SeededRandom(seed: 4)
        let parent = random.bytes(Unit.size)
        var page = parent
        for byte in 1000..<1400 { page[byte] = page[byte] &+ 1 }
        #expect(try tally(page, parent: parent).own == 1)
        let other = random.bytes(Unit.size)
        #expect(try tally(other, parent: parent).own == 0)
    }
}
