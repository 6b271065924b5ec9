import NBD
import NBDTestSupport
import Testing

/// Requests that come together: some are answered at once, some together, some each by a thread, in any order.
@Suite struct NBDManyRequestsTests {
    private let scratch: Scratch
    init() throws { scratch = try Scratch() }

    /// One request, and what must come back.
    private struct Sent {
        var error: UInt32 = 0
        var data: [UInt8] = []
    }

    private static let half = 1 << 20
    private static let invalid: UInt32 = 22
    private static let noSpace: UInt32 = 28

    @Test func eachReplyIsThatOfItsRequest() async throws {
        var generator = SeededGenerator(seed: 12)
        // Read in the first half, of which a part is at hand; written in the second.
        let disk = MemoryDisk(size: 2 * Self.half, promptEnd: 600 << 10)
        let content = generator.bytes(Self.half)
        try content.withUnsafeBytes { try disk.write($0, at: 0, fua: false) }
        var written = [UInt8](repeating: 0, count: Self.half)
        try await Serving.with(disk, in: scratch) { serving in
            let client = try RawClient.ready(serving.socket)
            for _ in 0..<20 {
                var stream: [UInt8] = []
                var sent: [UInt64: Sent] = [:]
                for slot in 0..<60 {
                    let cookie = generator.next()
                    switch Int.random(in: 0..<10, using: &generator) {
                    case 0..<5:
                        let count = Int.random(in: 1...80_000, using: &generator)
                        let start = Int.random(in: 0...Self.half - count, using: &generator)
                        stream += client.head(0, cookie: cookie, at: UInt64(start), UInt32(count))
                        sent[cookie] = Sent(data: Array(content[start..<start + count]))
                    case 5..<8:
                        // Slots don't overlap: writes that are under way together may be done in any order.
                        let bytes = generator.bytes(Int.random(in: 1...6000, using: &generator))
                        let start = slot * 16384 + Int.random(in: 0..<8192, using: &generator)
                        let flags: UInt16 = Bool.random(using: &generator) ? 1 : 0
                        stream += client.head(
                            1, flags: flags, cookie: cookie, at: UInt64(Self.half + start), UInt32(bytes.count))
                        stream += bytes
                        written.replaceSubrange(start..<start + bytes.count, with: bytes)
                        sent[cookie] = Sent()
                    case 8:
                        stream += client.head(3, cookie: cookie, at: 0, 0)
                        sent[cookie] = Sent()
                    default:
                        stream += client.head(0, cookie: cookie, at: UInt64(2 * Self.half), 1)
                        sent[cookie] = Sent(error: Self.invalid)
                    }
                }
                try client.send(stream)
                try expectReplies(to: sent, client)
            }
        }
        let isInside = disk.content == content + written
        #expect(isInside)
        #expect(disk.promptReads.withLock { $0 } > 0)
        #expect(disk.reads.withLock { $0 } > 0)
    }

    @Test func whatFailsAmongOthersIsToldAlone() async throws {
        let failsAt: UInt64 = 20 * 4096 + 7
        let disk = MemoryDisk(size: 1 << 20, failsAt: failsAt, failure: NBDError.noSpace, promptEnd: 1 << 20)
        try await Serving.with(disk, in: scratch) { serving in
            let client = try RawClient.ready(serving.socket)
            var stream: [UInt8] = []
            var sent: [UInt64: Sent] = [:]
            for index in UInt64(0)..<40 {
                stream += client.head(1, cookie: index, at: index * 4096, 4096)
                stream += [UInt8](repeating: UInt8(index + 1), count: 4096)
                sent[index] = Sent(error: index == 20 ? Self.noSpace : 0)
            }
            try client.send(stream)
            try expectReplies(to: sent, client)
            stream = []
            for index in UInt64(0)..<40 {
                stream += client.head(0, cookie: index, at: index * 4096, 4096)
                sent[index]?.data = index == 20 ? [] : [UInt8](repeating: UInt8(index + 1), count: 4096)
            }
            try client.send(stream)
            try expectReplies(to: sent, client)
        }
    }

    @Test func aFlushWithNothingToFlushIsAnsweredWithoutTheDevice() async throws {
        let disk = MemoryDisk(size: 1 << 20)
        try await Serving.with(disk, in: scratch) { serving in
            let client = try RawClient.ready(serving.socket)
            func flush(cookie: UInt64) throws {
                try client.send(client.head(3, cookie: cookie, at: 0, 0))
                try expectReplies(to: [cookie: Sent()], client)
            }
            try flush(cookie: 1)
            try flush(cookie: 2)
            #expect(disk.flushes.withLock { $0 } == 1)
            try client.send(client.head(1, cookie: 3, at: 0, 1) + [7])
            try expectReplies(to: [3: Sent()], client)
            try flush(cookie: 4)
            #expect(disk.flushes.withLock { $0 } == 2)
        }
    }

    /// Takes as many replies as were `sent`, in any order.
    private func expectReplies(to sent: [UInt64: Sent], _ client: RawClient) throws {
        var missing = sent
        while !missing.isEmpty {
            let reply = try client.simpleReply()
            let mine = missing.removeValue(forKey: reply.cookie)
            let expected = try #require(mine, "a reply that nobody waits for")
            #expect(reply.error == expected.error)
            guard reply.error == 0 else { continue }
            let isRight = try client.receive(expected.data.count) == expected.data
            #expect(isRight)
        }
    }
}
