import Foundation
import NBDTestSupport
import Synchronization
import Testing
import VMSyncCore
import VMSyncMachine

/// Several threads write while checkpoints are taken.
@Suite struct OverlayFreezeTests {
    private static let blocks = 200
    private static let size = blocks * 4096

    /// What the writers and the checkpoints share.
    private final class Shared: Sendable {
        let disk: OverlayDisk
        /// Held through each write, and by a checkpoint while the VM would be paused. One per writer.
        let gates = (0..<4).map { _ in Gate() }
        let isOver = Atomic(false)
        let failures = Atomic(0)
        let writes = Atomic(0)
        init(_ disk: OverlayDisk) { self.disk = disk }

        final class Gate: Sendable { let lock = Mutex<Void>(()) }

        func paused<Value>(from index: Int = 0, _ body: () throws -> sending Value) rethrows -> sending Value {
            guard index < gates.count else { return try body() }
            return try gates[index].lock.withLock { _ in try paused(from: index + 1, body) }
        }
    }

    @Test func aFreezeShowsItsMomentWhileTheDiskIsWritten() throws {
        let fixture = try DiskFixture(size: Self.size)
        let disk = try fixture.open()
        let shared = Shared(disk)
        let threads = shared.gates.indices.map { writer in
            let thread = Thread { Self.write(shared, writer) }
            thread.start()
            return thread
        }
        defer { shared.isOver.store(true, ordering: .relaxed) }
        var replica = fixture.blank
        for _ in 0..<30 { try checkpoint(shared, &replica) }
        shared.isOver.store(true, ordering: .relaxed)
        while !threads.allSatisfy(\.isFinished) { sched_yield() }
        try checkpoint(shared, &replica)
        #expect(Content(try disk.bytes()) == Content(replica))
        #expect(disk.dirtyCount == 0)
        #expect(shared.failures.load(ordering: .relaxed) == 0)
        #expect(shared.writes.load(ordering: .relaxed) >= 300)
    }

    /// Takes a checkpoint into `replica`, which must then be the disk as it was.
    private func checkpoint(_ shared: Shared, _ replica: inout [UInt8]) throws {
        let (frozen, moment) = try shared.paused { (try shared.disk.freeze(), try shared.disk.bytes()) }
        // Let the writers overwrite some of it before it is read.
        let before = shared.writes.load(ordering: .relaxed)
        while !shared.isOver.load(ordering: .relaxed), shared.writes.load(ordering: .relaxed) < before + 10 {
            sched_yield()
        }
        for block in frozen.blocks {
            let start = Int(block.index) * 4096
            replica.replaceSubrange(start..<start + 4096, with: try frozen.bytes(block))
        }
        #expect(Content(replica) == Content(moment))
        shared.disk.seal(upTo: frozen.upTo)
        frozen.release()
    }

    private static func write(_ shared: Shared, _ writer: Int) {
        var random = SeededGenerator(seed: UInt64(writer + 1))
        while !shared.isOver.load(ordering: .relaxed) {
            let start = Int.random(in: 0..<size, using: &random)
            let end = min(size, start + Int.random(in: 1...40_000, using: &random))
            let bytes = [UInt8](repeating: UInt8.random(in: 1...255, using: &random), count: end - start)
            let zeroes = Int.random(in: 0..<4, using: &random) == 0
            shared.gates[writer].lock.withLock { _ in
                do {
                    if zeroes {
                        try shared.disk.trim(at: UInt64(start), length: UInt64(end - start))
                    } else {
                        try shared.disk.store(bytes, at: UInt64(start))
                    }
                } catch { shared.failures.add(1, ordering: .relaxed) }
            }
            shared.writes.add(1, ordering: .relaxed)
        }
    }

    @Test func whatAFreezeKeepsIsThrownAwayWithIt() throws {
        let fixture = try DiskFixture(size: Self.size)
        let disk = try fixture.open()
        try disk.store([UInt8](repeating: 1, count: Self.size), at: 0)
        func kept() throws -> Int { try fixture.scratch.read("disk/before.raw").count }
        let frozen = try disk.freeze()
        try disk.store([2], at: 4096)
        #expect(try kept() == 8192)
        frozen.release()
        #expect(try kept() == 0)
        try disk.store([3], at: 8192)
        #expect(try kept() == 0)
    }

    @Test func aPresentFreezeHoldsAllThatDiffersFromTheBase() throws {
        let fixture = try DiskFixture(size: Self.size)
        let disk = try fixture.open()
        try disk.store([UInt8](repeating: 1, count: 4096), at: 4096)
        disk.seal(upTo: try disk.freeze().upTo)
        try disk.store([UInt8](repeating: 2, count: 4096), at: 0)
        let frozen = try disk.freeze(.present)
        try disk.store([UInt8](repeating: 9, count: 8192), at: 0)
        #expect(frozen.blocks.map(\.index) == [1, 0])
        #expect(try frozen.blocks.map { try frozen.bytes($0)[7] } == [1, 2])
    }

    /// The copy has no room while the write itself needs none: the VM goes on, and the checkpoint is lost.
    @Test func aFullDiskBreaksTheFreezeAndNotTheVM() async throws {
        let fixture = try DiskFixture(size: Self.size)
        let (folder, base) = (fixture.folder, fixture.scratch.file("base"))
        await #expect(processExitsWith: .success) { [folder = folder as String, base = base as String] in
            let disk = try OverlayDisk.open(
                folder: folder, base: base, size: UInt64(OverlayFreezeTests.size), bootID: DiskFixture.boot)
            try disk.store([UInt8](repeating: 1, count: OverlayFreezeTests.size), at: 0, fua: true)
            let frozen = try disk.freeze()
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 4096, rlim_max: 4096)
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            // Beyond the limit even the overlay can't be written, but it can be trimmed.
            try disk.trim(at: 8192, length: 4096)
            #expect(Content(try disk.bytes(at: 8192, 1)) == Content([0]))
            #expect(code { _ = try frozen.bytes(frozen.blocks[0]) } == .noSpace)
            frozen.release()
            let next = try disk.freeze()
            #expect(try next.bytes(next.blocks[0])[0] == 1)
        }
    }
}
