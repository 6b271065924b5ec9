import Foundation
import NBDTestSupport
import Testing
import VMSyncCore
import VMSyncMachine

@Suite struct OverlayDiskTests {
    private let block = DiskBlock.size

    @Test func aNewDiskReadsAsItsBaseAndZerosBeyond() throws {
        let fixture = try DiskFixture(size: 5 * 4096 + 512, baseSize: 3 * 4096 + 100)
        let disk = try fixture.open()
        #expect(Content(try disk.bytes()) == Content(fixture.blank))
        #expect(!disk.recoveredFromLog)
        #expect(disk.dirtyCount == 0)
        #expect(disk.statistics.dataBytes == 0)
    }

    @Test func theBaseNeverChanges() throws {
        let fixture = try DiskFixture(size: 4 * 4096)
        let disk = try fixture.open()
        try disk.store([UInt8](repeating: 1, count: 4 * 4096), at: 0)
        #expect(try fixture.scratch.read("base") == fixture.base)
    }

    @Test func whatIsAtHandIsWhatIsRead() throws {
        // Blocks of the base, of the overlay and of zeros in turns; the end of the base and of the disk in a block.
        let fixture = try DiskFixture(size: 64 * 4096 + 512, baseSize: 40 * 4096 + 100)
        let disk = try fixture.open()
        for index in stride(from: UInt64(0), to: 60, by: 3) {
            try disk.store([UInt8](repeating: UInt8(index + 1), count: block), at: index * 4096)
            try disk.zero(at: (index + 1) * 4096, length: 4096, mayTrim: index % 2 == 0)
        }
        let whole = try disk.bytes()
        var generator = SeededGenerator(seed: 21)
        for _ in 0..<500 {
            let start = Int.random(in: 0..<fixture.size, using: &generator)
            let count = Int.random(in: 1...min(40000, fixture.size - start), using: &generator)
            var bytes = [UInt8](repeating: 0xee, count: count)
            let isAtHand = bytes.withUnsafeMutableBytes { disk.loadCached(at: UInt64(start), into: $0) }
            if isAtHand { #expect(Content(bytes) == Content(whole[start..<start + count])) }
        }
        // Zeros are always at hand, and what isn't on the disk never is.
        var zeros = [UInt8](repeating: 0xee, count: 4096)
        #expect(zeros.withUnsafeMutableBytes { disk.loadCached(at: 4096, into: $0) })
        #expect(zeros == [UInt8](repeating: 0, count: 4096))
        #expect(!zeros.withUnsafeMutableBytes { disk.loadCached(at: UInt64(fixture.size) - 1, into: $0) })
    }

    @Test func everyChangeIsToBeFlushed() throws {
        let fixture = try DiskFixture(size: 4 * 4096)
        do {
            let disk = try fixture.open()
            #expect(!disk.isFlushed)
            try disk.flush()
            #expect(disk.isFlushed)
            let changes: [() throws -> Void] = [
                { try disk.store([1], at: 5) }, { try disk.zero(at: 0, length: 4096, mayTrim: true) },
                { try disk.zero(at: 4097, length: 10, mayTrim: false) },
                { try [UInt8](repeating: 3, count: 4096).withUnsafeBytes { try disk.apply(block: 2, content: $0) } },
                { try disk.apply(block: 3, content: nil) },
            ]
            for change in changes {
                try change()
                #expect(!disk.isFlushed)
                try disk.flush()
                #expect(disk.isFlushed)
            }
            try disk.store([2], at: 6)
        }
        // What a process left behind when it was killed is for the next one to flush.
        #expect(try !fixture.open().isFlushed)
    }

    @Test func partOfABlockKeepsTheRestOfTheBase() throws {
        let fixture = try DiskFixture(size: 4 * 4096)
        let disk = try fixture.open()
        try disk.store([1, 2, 3], at: 4095)
        var expected = fixture.blank
        expected.replaceSubrange(4095..<4098, with: [1, 2, 3])
        #expect(Content(try disk.bytes()) == Content(expected))
        #expect(disk.dirtyCount == 2)
    }

    @Test func partOfATrimmedBlockReadsZerosAround() throws {
        let fixture = try DiskFixture(size: 2 * 4096)
        let disk = try fixture.open()
        try disk.store([UInt8](repeating: 7, count: 8192), at: 0)
        // Without `mayTrim` the old bytes stay in the overlay.
        try disk.zero(at: 0, length: 8192, mayTrim: false)
        try disk.store([5], at: 100)
        var expected = [UInt8](repeating: 0, count: 8192)
        expected[100] = 5
        #expect(Content(try disk.bytes()) == Content(expected))
    }

    @Test func trimGivesTheSpaceBack() throws {
        let fixture = try DiskFixture(size: 4 << 20)
        let disk = try fixture.open()
        func stored() throws -> Int {
            try URL(fileURLWithPath: "\(fixture.folder)/overlay.raw").resourceValues(forKeys: [.fileAllocatedSizeKey])
                .fileAllocatedSize ?? -1
        }
        try disk.store([UInt8](repeating: 7, count: 4 << 20), at: 0)
        try disk.flush()
        #expect(try stored() >= 4 << 20)
        try disk.trim(at: 0, length: 4 << 20)
        try disk.flush()
        #expect(try stored() < 64 << 10)
        #expect(disk.statistics.dataBytes == 0)
        #expect(disk.statistics.zeroBlocks == 1024)
    }

    @Test func zeroingWhatIsZeroMakesNothingDirty() throws {
        let fixture = try DiskFixture(size: 16 << 20, baseSize: 4096)
        let disk = try fixture.open()
        try disk.trim(at: 1 << 20, length: 15 << 20)
        #expect(disk.dirtyCount == 0)
        try disk.trim(at: 0, length: 4096)
        try disk.trim(at: 0, length: 4096)
        let frozen = try disk.freeze()
        #expect(frozen.blocks.map(\.index) == [0])
        #expect(frozen.blocks.map(\.state) == [.zero])
    }

    @Test func dirtyBlocksComeInTheOrderOfTheirLastChange() throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        let disk = try fixture.open()
        for index in [5, 9, 3, 5, 40] { try disk.store([1], at: UInt64(index * block)) }
        let first = try disk.freeze()
        #expect(first.blocks.map(\.index) == [9, 3, 5, 40])
        try disk.store([2], at: UInt64(3 * block))
        disk.seal(upTo: first.upTo)
        #expect(disk.dirtyCount == 1)
        first.release()
        let second = try disk.freeze()
        #expect(second.blocks.map(\.index) == [3])
    }

    @Test func dirtyBlocksOutliveTheProcess() throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        try {
            let disk = try fixture.open()
            for index in [5, 9, 3] { try disk.store([1], at: UInt64(index * block)) }
            let frozen = try disk.freeze()
            disk.seal(upTo: frozen.upTo)
            for index in [20, 9] { try disk.store([1], at: UInt64(index * block)) }
        }()
        let disk = try fixture.open()
        #expect(!disk.recoveredFromLog)
        #expect(try disk.freeze().blocks.map(\.index) == [20, 9])
    }

    @Test func aStandbysBlocksAreCleanAndResetTakesThemAway() throws {
        let fixture = try DiskFixture(size: 3 * 4096 + 512)
        let disk = try fixture.open()
        let content = [UInt8](repeating: 3, count: block)
        try disk.store([1], at: 0)
        try disk.apply(block: 0, bytes: content)
        try disk.apply(block: 1, content: nil)
        try disk.apply(block: 3, bytes: content)
        #expect(disk.dirtyCount == 0)
        #expect(Content(try disk.block(0)) == Content(content))
        #expect(Content(try disk.block(1)) == Content([UInt8](repeating: 0, count: block)))
        #expect(Content(try disk.block(3)) == Content(content.prefix(512) + [UInt8](repeating: 0, count: block - 512)))
        var present: [UInt64: BlockState] = [:]
        disk.forEachPresentBlock { present[$0] = $1 }
        #expect(present == [0: .data, 1: .zero, 3: .data])
        try disk.flush()
        try disk.reset()
        #expect(Content(try disk.bytes()) == Content(fixture.blank))
        #expect(disk.statistics.dataBytes == 0)
        let lost = try fixture.copyFiles(to: "lost")
        #expect(try fixture.open(bootID: DiskFixture.otherBoot, folder: lost).bytes() == fixture.blank)
    }

    @Test func whatCannotBeDoneSaysWhy() throws {
        let fixture = try DiskFixture(size: 2 * 4096)
        #expect(
            code { try OverlayDisk.create(folder: fixture.folder, base: fixture.scratch.file("base"), size: 8192) }
                == .alreadyExists)
        #expect(
            code {
                try OverlayDisk.create(folder: fixture.scratch.file("n"), base: fixture.scratch.file("base"), size: 100)
            }
                == .invalidInput)
        #expect(
            code { try OverlayDisk.create(folder: fixture.scratch.file("n"), base: "/none", size: 512) } == .notFound)
        let disk = try fixture.open()
        #expect(code { _ = try fixture.open() } == .wrongState)
        #expect(code { _ = try disk.bytes(at: 8000, 200) } == .invalidInput)
        #expect(code { try disk.store([1], at: .max) } == .invalidInput)
        #expect(code { try disk.apply(block: 2, content: nil) } == .invalidInput)
        #expect(code { try disk.apply(block: 0, bytes: [1]) } == .invalidInput)
        let frozen = try disk.freeze()
        #expect(code { _ = try disk.freeze() } == .wrongState)
        #expect(code { try disk.apply(block: 0, content: nil) } == .wrongState)
        #expect(code { try disk.reset() } == .wrongState)
        frozen.release()
        frozen.release()
        let next = try disk.freeze()
        frozen.release()
        #expect(code { _ = try disk.freeze() } == .wrongState, "an old freeze can't release a new one")
        next.release()
        try disk.close()
        #expect(code { try disk.store([1], at: 0) } == .wrongState)
    }

    @Test func anotherSizeOrAForeignFileIsRefused() throws {
        let fixture = try DiskFixture(size: 2 * 4096)
        let base = fixture.scratch.file("base")
        #expect(
            code { _ = try OverlayDisk.open(folder: fixture.folder, base: base, size: 4096, bootID: "b") }
                == .invalidInput)
        try Data("not a log of any disk, but long enough".utf8)
            .write(to: URL(fileURLWithPath: "\(fixture.folder)/map.log"))
        #expect(code { _ = try fixture.open() } == .corrupt)
    }

    @Test func theBootIDOfTheHostHasTheKernelsForm() throws {
        #expect(UUID(uuidString: try OverlayDisk.currentBootID()) != nil)
    }
}
