import Foundation
import NBD
import NBDTestSupport
import Testing
import VMSyncCore
import VMSyncMachine

/// A base image that a disk is based on while it is still on its way.
@Suite(.timeLimit(.minutes(5))) struct ArrivingImageTests {
    private static let chunk = 64 << 10
    /// Chunks that have content; 3, 4 and 7 are holes, and the last one is short.
    private static let present = [0, 1, 2, 5, 6, 8, 9]
    private static let size = 9 * chunk + 12_288

    private let scratch: Scratch
    private let content: [UInt8]

    init() throws {
        scratch = try Scratch()
        var generator = SeededGenerator(seed: 3)
        var content = generator.bytes(Self.size)
        for hole in [3, 4, 7] {
            content.replaceSubrange(
                hole * Self.chunk..<(hole + 1) * Self.chunk, with: repeatElement(0, count: Self.chunk))
        }
        self.content = content
    }

    private func image(bootID: String = DiskFixture.boot) throws -> ArrivingImage {
        try ArrivingImage(
            path: scratch.file("base"), size: UInt64(Self.size), chunkLength: Self.chunk, chunks: Self.present,
            bootID: bootID)
    }

    private func disk(on image: ArrivingImage, size: Int = size) throws -> OverlayDisk {
        let folder = scratch.file("disk")
        try OverlayDisk.create(folder: folder, base: scratch.file("base"), arriving: image, size: UInt64(size))
        return try OverlayDisk.open(
            folder: folder, base: scratch.file("base"), arriving: image, size: UInt64(size), bootID: DiskFixture.boot)
    }

    private func put(_ chunk: Int, into image: ArrivingImage) throws {
        let end = min((chunk + 1) * Self.chunk, Self.size)
        try content[chunk * Self.chunk..<end].withUnsafeBytes { try image.put($0, at: chunk) }
    }

    /// Reads on a thread of its own, for it may wait.
    private func reading(_ disk: OverlayDisk, at offset: Int, _ count: Int) -> Task<Content, any Error> {
        Task.detached {
            try await withCheckedThrowingContinuation { continuation in
                Thread.detachNewThread {
                    continuation.resume(
                        with: Result {
                            var bytes = [UInt8](repeating: 0xee, count: count)
                            try bytes.withUnsafeMutableBytes { try disk.read(at: UInt64(offset), into: $0) }
                            return Content(bytes)
                        })
                }
            }
        }
    }

    private func waitUntilAwaited(_ image: ArrivingImage) async throws {
        for _ in 0..<1000 where image.awaitedBytes == 0 { try await Task.sleep(for: .milliseconds(5)) }
        try #require(image.awaitedBytes > 0)
    }

    @Test func aReadWaitsForItsChunksAndForNoOthers() async throws {
        let image = try image()
        let disk = try disk(on: image)
        #expect(image.missingBytes == UInt64(Self.present.count * Self.chunk))
        let read = reading(disk, at: 2 * Self.chunk - 100, 4 * Self.chunk)
        try await waitUntilAwaited(image)
        #expect(image.awaitedBytes == UInt64(3 * Self.chunk))
        // In the order in which they are read, whatever comes otherwise first; what is a hole never.
        let next = (0..<4).map { _ in image.take() }
        #expect(next.map { $0?.chunk } == [1, 2, 5, 0])
        #expect(next.map { $0?.isAwaited } == [true, true, true, false])
        for chunk in [5, 1, 2] { try put(chunk, into: image) }
        #expect(try await read.value == Content(content[2 * Self.chunk - 100..<6 * Self.chunk - 100]))
        #expect(image.awaitedBytes == 0)
        // What is here is read at once, and what isn't doesn't pass for being at hand.
        #expect(try disk.bytes(at: UInt64(5 * Self.chunk), 10) == Array(content[5 * Self.chunk..<5 * Self.chunk + 10]))
        var buffer = [UInt8](repeating: 0, count: 512)
        #expect(!buffer.withUnsafeMutableBytes { disk.loadCached(at: UInt64(6 * Self.chunk), into: $0) })
    }

    @Test func whatCouldNotBeFetchedIsTakenAgain() throws {
        let image = try image()
        let taken = (0..<Self.present.count).compactMap { _ in image.take()?.chunk }
        #expect(taken == Self.present)
        #expect(image.take() == nil)
        image.giveBack(5)
        #expect(image.take()?.chunk == 5)
        #expect(image.take(awaitedOnly: true) == nil)
    }

    @Test func holesAreKnownBeforeAnythingIsHere() throws {
        let image = try image()
        let disk = try disk(on: image, size: Self.size + Self.chunk)
        // Nobody would answer a read of anything else.
        #expect(
            Content(try disk.bytes(at: UInt64(3 * Self.chunk), 2 * Self.chunk))
                == Content([UInt8](repeating: 0, count: 2 * Self.chunk)))
        #expect(
            Content(try disk.bytes(at: UInt64(Self.size), Self.chunk))
                == Content([UInt8](repeating: 0, count: Self.chunk)))
        let extents = try disk.status(at: UInt64(Self.size - 100), length: UInt64(Self.chunk))
        #expect(
            extents == [NBDExtent(length: 100, kind: .data), NBDExtent(length: UInt64(Self.chunk - 100), kind: .hole)])
        // To zero what is zero changes nothing, and what isn't known to be does.
        try disk.zero(at: UInt64(3 * Self.chunk), length: UInt64(Self.chunk), mayTrim: true)
        #expect(disk.dirtyCount == 0)
        try disk.zero(at: 0, length: UInt64(Self.chunk), mayTrim: true)
        #expect(disk.dirtyCount == Self.chunk / DiskBlock.size)
    }

    @Test func aNewProcessGoesOnWhereTheLastOneEndedButNotAfterAReboot() throws {
        do {
            let image = try image()
            for chunk in [1, 8] { try put(chunk, into: image) }
        }
        // The end of a line that was being written.
        let list = try #require(FileHandle(forWritingAtPath: scratch.file("base.chunks")))
        try list.seekToEnd()
        try list.write(contentsOf: Data("9".utf8))
        try list.close()
        do {
            let image = try image()
            #expect(image.missingBytes == UInt64((Self.present.count - 2) * Self.chunk))
            // Its line doesn't become the end of the torn one.
            try put(2, into: image)
        }
        #expect(try image().missingBytes == UInt64((Self.present.count - 3) * Self.chunk))
        #expect(try image(bootID: DiskFixture.otherBoot).missingBytes == UInt64(Self.present.count * Self.chunk))
    }

    @Test func aListThatAnotherImageHasLeftSaysNothing() throws {
        try Data("\(DiskFixture.boot)\n1\n2\n".utf8).write(to: URL(fileURLWithPath: scratch.file("base.chunks")))
        #expect(try image().missingBytes == UInt64(Self.present.count * Self.chunk))
    }

    @Test func aChunkOfAnotherLengthIsRefused() throws {
        let image = try image()
        #expect(
            code { try [UInt8](repeating: 1, count: Self.chunk - 1).withUnsafeBytes { try image.put($0, at: 0) } }
                == .corrupt)
        #expect(
            code { try [UInt8](repeating: 1, count: Self.chunk).withUnsafeBytes { try image.put($0, at: 9) } }
                == .corrupt)
        #expect(!image.has(0..<1))
    }

    @Test func readsThatNobodyWaitsForAnyMoreEnd() async throws {
        let image = try image()
        let disk = try disk(on: image)
        let read = reading(disk, at: 0, 100)
        try await waitUntilAwaited(image)
        disk.abandonReads(forGood: false)
        let failure = await #expect(throws: VMSyncError.self) { try await read.value }
        #expect(failure?.code == .cancelled)
        #expect(!disk.isAwaited)
        // Those that come later are another client's.
        let later = reading(disk, at: 0, 100)
        for _ in 0..<1000 where !disk.isAwaited { try await Task.sleep(for: .milliseconds(5)) }
        try #require(disk.isAwaited)
        try put(0, into: image)
        #expect(try await later.value == Content(content[..<100]))
        disk.abandonReads(forGood: true)
        let none = await #expect(throws: VMSyncError.self) { try await reading(disk, at: Self.chunk, 100).value }
        #expect(none?.code == .cancelled)
    }

    /// What isn't asked for by a client of the disk must not hold up who asks.
    @Test func allButItsClientsAreToldThatAPartIsMissing() throws {
        let image = try image()
        let disk = try disk(on: image)
        #expect(code { _ = try disk.bytes(at: 0, 100) } == .unavailable)
        #expect(code { _ = try disk.block(1) } == .unavailable)
        #expect(code { try disk.store([1], at: 100) } == .unavailable)
        #expect(!disk.wantBase(1, unlessReplaced: true))
        try disk.store([UInt8](repeating: 7, count: DiskBlock.size), at: UInt64(DiskBlock.size))
        #expect(disk.wantBase(1, unlessReplaced: true) && !disk.wantBase(1, unlessReplaced: false))
        #expect(try disk.block(1) == [UInt8](repeating: 7, count: DiskBlock.size))
    }

    @Test func aPartOfABlockThatIsWrittenKeepsTheRestOfTheBase() async throws {
        let image = try image()
        let disk = try disk(on: image)
        let write = Task.detached {
            try [UInt8]([1, 2, 3]).withUnsafeBytes { try disk.write($0, at: 5000, fua: false) }
        }
        try await waitUntilAwaited(image)
        try put(0, into: image)
        try await write.value
        var expected = Array(content[4096..<8192])
        expected.replaceSubrange(904..<907, with: [1, 2, 3])
        #expect(Content(try disk.block(1)) == Content(expected))
    }

    /// A client that we did not write reads the disk while the image comes, in an order that nobody asked for.
    @Test func aClientThatReadsWhileTheImageComesGetsTheImage() async throws {
        let image = try image()
        try scratch.write(content, to: "whole")
        let disk = try disk(on: image)
        try await Serving.with(disk, in: scratch, threads: 8) { serving in
            let arrival = Task.detached { [self] in
                var order = Self.present
                var generator = SeededGenerator(seed: 8)
                order.shuffle(using: &generator)
                for chunk in order {
                    try await Task.sleep(for: .milliseconds(20))
                    try put(chunk, into: image)
                }
                try image.complete()
            }
            try await Tool.nbdcopy(serving.uri, scratch.file("copy"))
            try await arrival.value
            try await Tool.cmp(scratch.file("whole"), scratch.file("copy"))
            // Whoever had it open before reads it as before.
            try await Tool.qemuImg("compare", "-f", "raw", "-F", "raw", serving.uri, scratch.file("base"))
        }
        #expect(image.isWhole)
        try await Tool.cmp(scratch.file("whole"), scratch.file("base"))
        for left in ["base.part", "base.chunks"] {
            #expect(!FileManager.default.fileExists(atPath: scratch.file(left)))
        }
    }
}
