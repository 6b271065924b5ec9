import NBD
import NBDTestSupport
import NIOCore
import Synchronization
import Testing

/// Clients that break the protocol, or die: the server answers or hangs up, and serves the next one.
@Suite struct NBDHostileClientTests {
    private let scratch: Scratch
    init() throws { scratch = try Scratch() }

    /// Lets `attack` have a server, which has to work for an honest client afterwards.
    private func survives(
        _ disk: MemoryDisk = MemoryDisk(size: 1 << 20), limits: NBDLimits = NBDLimits(),
        _ attack: (Serving) async throws -> Void
    ) async throws {
        try await Serving.with(disk, in: scratch, limits: limits) { serving in
            try await attack(serving)
            try await serving.qemuIO("write -P 5 0 128k", "read -P 5 0 128k")
        }
    }

    @Test func unknownHandshakeFlagsEndTheConnection() async throws {
        try await survives { serving in
            let client = try RawClient(serving.socket)
            try client.handshake(flags: 0x80)
            #expect(client.isClosedByServer())
        }
    }

    @Test func aWrongMagicEndsTheConnection() async throws {
        try await survives { serving in
            let option = try RawClient(serving.socket)
            try option.handshake()
            try option.send(Array("GET / HTTP/1.1\r\n\r\n".utf8))
            #expect(option.isClosedByServer())
            let request = try RawClient.ready(serving.socket)
            try request.send([UInt8](repeating: 0x41, count: 28))
            #expect(request.isClosedByServer())
        }
    }

    @Test func aHugeOptionEndsTheConnection() async throws {
        try await survives { serving in
            let client = try RawClient(serving.socket)
            try client.handshake()
            try client.option(7, [], length: .max)
            #expect(client.isClosedByServer())
        }
    }

    @Test func optionsThatMakeNoSenseAreRefusedAndTheNextOneWorks() async throws {
        try await survives { serving in
            let client = try RawClient(serving.socket)
            try client.handshake()
            let unsupported: UInt32 = 0x8000_0001
            let invalid: UInt32 = 0x8000_0003
            try client.option(5)
            #expect(try client.optionReply().type == unsupported)
            try client.option(4711, [1, 2, 3])
            #expect(try client.optionReply().type == unsupported)
            // A name that claims to be longer than its option, and four thousand million queries.
            try client.option(7, client.big(UInt32.max) + [0, 0])
            #expect(try client.optionReply().type == invalid)
            try client.option(10, client.big(UInt32(0)) + client.big(UInt32(0)))
            #expect(try client.optionReply().type == invalid, "contexts need structured replies")
            try client.option(8)
            #expect(try client.optionReply().type == 1)
            try client.option(10, client.big(UInt32(4)) + Array("disk".utf8) + client.big(UInt32.max))
            #expect(try client.optionReply().type == invalid)
            try client.option(7, client.big(UInt32(5)) + Array("other".utf8) + [0, 0])
            #expect(try client.optionReply().type == 0x8000_0006)
            try client.option(2)
            #expect(try client.optionReply().type == 1)
            #expect(client.isClosedByServer())
        }
    }

    @Test func requestsOutOfRangeGetTheRightErrorAndTheNextOneWorks() async throws {
        try await survives { serving in
            let client = try RawClient.ready(serving.socket)
            let size: UInt64 = 1 << 20
            let (invalid, noSpace): (UInt32, UInt32) = (22, 28)
            try client.request(0, at: size - 1, 2)
            #expect(try client.simpleError() == invalid)
            try client.request(0, at: .max, 2)
            #expect(try client.simpleError() == invalid)
            try client.request(0, at: 0, 0)
            #expect(try client.simpleError() == invalid)
            try client.request(0, at: 0, .max)
            #expect(try client.simpleError() == invalid)
            try client.request(1, at: size - 1, 2)
            try client.send([1, 2])
            #expect(try client.simpleError() == noSpace)
            try client.request(6, at: size, 4096)
            #expect(try client.simpleError() == noSpace)
            try client.request(7, at: 0, 4096)
            #expect(try client.simpleError() == invalid, "no context was negotiated")
            try client.request(99, at: 0, 4096)
            #expect(try client.simpleError() == invalid)
            try client.request(0, flags: 1 << 2, at: 0, 512)
            #expect(try client.simpleError() == invalid, "DF without structured replies")
            try client.request(0, at: size - 1, 1)
            #expect(try client.simpleError() == 0)
            #expect(try client.receive(1) == [0])
        }
    }

    /// What a device wants nobody to be told ends the connection, and a client that comes again is answered.
    @Test func aRequestWithoutAnAnswerEndsTheConnection() async throws {
        struct NoAnswer: NBDReportable {
            let nbdError: NBDError? = nil
        }
        try await survives(MemoryDisk(size: 1 << 20, failsAt: 512 << 10, failure: NoAnswer())) { serving in
            let client = try RawClient.ready(serving.socket)
            try client.request(0, at: 512 << 10, 512)
            #expect(throws: RawClient.Closed.self) { try client.receive(1) }
        }
    }

    @Test func aPayloadThatIsTooLongIsSkipped() async throws {
        var limits = NBDLimits()
        limits.payloadBytesMax = 4096
        try await survives(limits: limits) { serving in
            let client = try RawClient.ready(serving.socket)
            try client.request(1, at: 0, 1_000_000)
            try client.send([UInt8](repeating: 1, count: 1_000_000))
            #expect(try client.simpleError() == 22)
            try client.request(0, at: 0, 4)
            #expect(try client.simpleError() == 0)
            #expect(try client.receive(4) == [0, 0, 0, 0])
        }
    }

    @Test func aClientMayDieInTheMiddleOfAnything() async throws {
        try await survives { serving in
            let greeted = try RawClient(serving.socket)
            greeted.close()
            let halfOption = try RawClient(serving.socket)
            try halfOption.handshake()
            try halfOption.send(Array("IHAVE".utf8))
            halfOption.close()
            let halfRequest = try RawClient.ready(serving.socket)
            try halfRequest.send([0x25, 0x60])
            halfRequest.close()
            let halfPayload = try RawClient.ready(serving.socket)
            try halfPayload.request(1, at: 0, 65536)
            try halfPayload.send([1, 2, 3])
            halfPayload.close()
            let reads = try RawClient.ready(serving.socket)
            for _ in 0..<64 { try reads.request(0, at: 0, 1 << 20) }
            reads.close()
        }
    }

    @Test func aClientThatNeverReadsIsNotServedWithoutEnd() async throws {
        var limits = NBDLimits()
        limits.drainTimeout = .milliseconds(50)
        limits.requestsInFlightMax = 10
        let disk = MemoryDisk(size: 1 << 20)
        // Stays connected until after the server's end.
        var client: RawClient?
        try await survives(disk, limits: limits) { serving in
            let greedy = try RawClient.ready(serving.socket)
            for _ in 0..<200 { try greedy.request(0, at: 0, 1 << 20) }
            client = greedy
            let other = try RawClient.ready(serving.socket)
            try other.request(0, at: 0, 512)
            #expect(try other.simpleError() == 0)
        }
        #expect(try #require(client).isClosedByServer())
        // The socket takes few replies of 1 MiB, and then ten are in flight for ever; a few reads were those of the others.
        #expect(disk.reads.withLock { $0 } < 20)
    }

    @Test func aHandshakeThatTakesTooLongIsEnded() async throws {
        var limits = NBDLimits()
        limits.handshakeTimeout = .milliseconds(50)
        try await Serving.with(MemoryDisk(size: 1 << 20), in: scratch, limits: limits) { serving in
            let silent = try RawClient(serving.socket)
            #expect(silent.isClosedByServer())
            let slow = try RawClient(serving.socket)
            try slow.send([0, 0])
            #expect(slow.isClosedByServer())
        }
    }

    @Test func aConnectionTooManyIsClosed() async throws {
        var limits = NBDLimits()
        limits.connectionsMax = 1
        try await Serving.with(MemoryDisk(size: 1 << 20), in: scratch, limits: limits) { serving in
            let first = try RawClient.ready(serving.socket)
            let second = try RawClient(serving.socket)
            #expect(second.isClosedByServer())
            try first.request(0, at: 0, 512)
            #expect(try first.simpleError() == 0)
        }
    }

    @Test func requestsCutAnywhereAreUnderstood() async throws {
        try await Serving.with(MemoryDisk(size: 1 << 20), in: scratch) { serving in
            let client = try RawClient.ready(serving.socket)
            var generator = SeededGenerator(seed: 11)
            var stream: [UInt8] = []
            for index in 0..<40 {
                let offset = UInt64(index) * 8192
                stream += client.big(0x2560_9513 as UInt32) + client.big(0 as UInt16) + client.big(1 as UInt16)
                stream += client.big(UInt64(index)) + client.big(offset) + client.big(5000 as UInt32)
                stream += [UInt8](repeating: UInt8(index + 1), count: 5000)
            }
            while !stream.isEmpty {
                let piece = min(stream.count, Int.random(in: 1...3000, using: &generator))
                try client.send(Array(stream.prefix(piece)))
                stream.removeFirst(piece)
            }
            for _ in 0..<40 { #expect(try client.simpleError() == 0) }
            for index in 0..<40 {
                try client.request(0, at: UInt64(index) * 8192, 5001)
                #expect(try client.simpleError() == 0)
                #expect(try client.receive(5001) == [UInt8](repeating: UInt8(index + 1), count: 5000) + [0])
            }
        }
    }

    @Test func stopLetsRequestsInFlightFinish() async throws {
        let disk = MemoryDisk(size: 1 << 20)
        let client = try await Serving.with(disk, in: scratch) { serving in
            let client = try RawClient.ready(serving.socket)
            try client.request(1, at: 0, 4)
            try client.send([9, 9, 9, 9])
            // The server has the request when it has begun to answer a later one.
            try client.request(3, at: 0, 0)
            _ = try client.receive(1)
            return client
        }
        _ = try client.receive(31)
        #expect(client.isClosedByServer())
        #expect(disk.content.prefix(4) == [9, 9, 9, 9])
    }
}
