import Foundation
import NBDTestSupport
import Synchronization
import Testing
import VMSyncCore
import VMSyncMachine

/// What is left of a disk when its process, or its host, dies.
@Suite struct OverlayCrashTests {
    @Test func acknowledgedWritesSurviveAKilledProcess() async throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        let (folder, base) = (fixture.folder, fixture.scratch.file("base"))
        // The child writes round after round, each with its number in all bytes, notes how far it came, and dies at a
        // moment that it doesn't choose.
        await #expect(processExitsWith: .signal(SIGKILL)) { [folder = folder as String, base = base as String] in
            let disk = try OverlayDisk.open(folder: folder, base: base, size: 64 * 4096, bootID: DiskFixture.boot)
            let rounds = Rounds()
            Thread {
                while rounds.done.load(ordering: .relaxed) < 1000 { sched_yield() }
                kill(getpid(), SIGKILL)
            }.start()
            let acknowledged = try FileHandle(forWritingTo: URL(fileURLWithPath: base))
            _ = try acknowledged.seekToEnd()
            for round in 0... {
                let index = UInt64(round % 64)
                try disk.store(
                    [UInt8](repeating: UInt8(truncatingIfNeeded: round / 64 + 1), count: 4096), at: index * 4096)
                try acknowledged.write(contentsOf: Data([0]))
                rounds.done.add(1, ordering: .relaxed)
            }
        }
        // The child's notes: one byte beyond the base per acknowledged round.
        let rounds = try fixture.scratch.read("base").count - fixture.base.count
        #expect(rounds >= 1000)
        let disk = try fixture.open()
        #expect(!disk.recoveredFromLog)
        for index in 0..<64 {
            let last = rounds - 1 - (rounds - 1 - index) % 64
            let old = [UInt8](repeating: UInt8(truncatingIfNeeded: last / 64 + 1), count: 4096)
            let new = [UInt8](repeating: UInt8(truncatingIfNeeded: last / 64 + 2), count: 4096)
            let found = try disk.block(UInt64(index))
            // The one write that was under way may be there or not.
            #expect(found == old || (index == rounds % 64 && found == new), "block \(index) after \(rounds) rounds")
        }
        #expect(disk.dirtyCount == 64)
    }

    @Test func flushedBytesSurviveAPowerLossAndTheRestReadsAsBefore() throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        let disk = try fixture.open()
        try disk.store([UInt8](repeating: 1, count: 8192), at: 4096)
        try disk.trim(at: 5 * 4096, length: 4096)
        let frozen = try disk.freeze()
        disk.seal(upTo: frozen.upTo)
        frozen.release()
        try disk.flush()
        let flushed = try disk.bytes()
        // Content that reaches the overlay without a flush; the map with it.
        try disk.store([UInt8](repeating: 2, count: 8192), at: 10 * 4096)
        let lost = try fixture.copyFiles(to: "lost")
        let recovered = try fixture.open(bootID: DiskFixture.otherBoot, folder: lost)
        #expect(recovered.recoveredFromLog)
        #expect(Content(try recovered.bytes()) == Content(flushed))
        #expect(recovered.dirtyCount == 3, "whether they were sent is lost")
        #expect(try recovered.freeze().blocks.map(\.index) == [1, 2, 5])
    }

    @Test func aFlushCoversWhatAProcessBeforeItWrote() throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        try fixture.open().store([1], at: 0)
        let disk = try fixture.open()
        try disk.flush()
        let lost = try fixture.copyFiles(to: "lost")
        #expect(try fixture.open(bootID: DiskFixture.otherBoot, folder: lost).bytes(at: 0, 1) == [1])
    }

    @Test func stateWithoutContentIsNeverLogged() throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        let disk = try fixture.open()
        try disk.store([UInt8](repeating: 1, count: 4096), at: 0, fua: true)
        try disk.store([UInt8](repeating: 2, count: 4096), at: 4096)
        let lost = try fixture.copyFiles(to: "lost")
        // The disk of the host lost the content that was never synced, too.
        let overlay = try FileHandle(forWritingTo: URL(fileURLWithPath: "\(lost)/overlay.raw"))
        try overlay.seek(toOffset: 4096)
        try overlay.write(contentsOf: Data(count: 4096))
        let recovered = try fixture.open(bootID: DiskFixture.otherBoot, folder: lost)
        #expect(Content(try recovered.block(0)) == Content([UInt8](repeating: 1, count: 4096)))
        #expect(Content(try recovered.block(1)) == Content(Array(fixture.base[4096..<8192])), "the base, not zeros")
    }

    @Test func aTornLogLosesOnlyWhatWasNotAcknowledged() throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        let disk = try fixture.open()
        try disk.store([1], at: 0, fua: true)
        let before = Int(disk.statistics.logBytes)
        let acknowledged = try disk.bytes()
        try disk.store([2], at: 4096, fua: true)
        let after = Int(disk.statistics.logBytes)
        let second = try disk.bytes()
        for length in before...after {
            let lost = try fixture.copyFiles(to: "lost")
            let log = try FileHandle(forUpdating: URL(fileURLWithPath: "\(lost)/map.log"))
            try log.truncate(atOffset: UInt64(length))
            // Some file systems leave zeros where the length reached the disk before the bytes did.
            if length.isMultiple(of: 2) { try log.truncate(atOffset: UInt64(after)) }
            let recovered = try fixture.open(bootID: DiskFixture.otherBoot, folder: lost)
            #expect(
                Content(try recovered.bytes()) == Content((length == after ? second : acknowledged)), "cut at \(length)"
            )
            try recovered.store([3], at: 8192, fua: true)
        }
    }

    @Test func theLogGrowsAgainAfterATear() throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        try fixture.open().store([1], at: 0, fua: true)
        let log = try FileHandle(forUpdating: URL(fileURLWithPath: "\(fixture.folder)/map.log"))
        _ = try log.seekToEnd()
        try log.write(contentsOf: Data(repeating: 0x5a, count: 777))
        try fixture.open(bootID: DiskFixture.otherBoot).store([2], at: 4096, fua: true)
        let recovered = try fixture.open(bootID: DiskFixture.boot)
        #expect(recovered.recoveredFromLog)
        #expect(Content(try recovered.bytes(at: 0, 1)) == Content([1]))
        #expect(Content(try recovered.bytes(at: 4096, 1)) == Content([2]))
    }

    @Test func aClosedDiskNeedsNoRecoveryAfterAReboot() throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        let disk = try fixture.open()
        try disk.store([1], at: 0)
        try disk.store([2], at: 4096)
        try disk.close()
        let copy = try fixture.copyFiles(to: "copy")
        let rebooted = try fixture.open(bootID: DiskFixture.otherBoot)
        #expect(!rebooted.recoveredFromLog)
        #expect(try rebooted.bytes(at: 4096, 1) == [2])
        #expect(rebooted.dirtyCount == 2)
        // That it was closed once is worth nothing after the next power loss.
        try rebooted.store([3], at: 0)
        let lost = try fixture.copyFiles(to: "lost")
        #expect(try fixture.open(bootID: "third", folder: lost).recoveredFromLog)
        #expect(try !fixture.open(bootID: "fourth", folder: copy).recoveredFromLog)
    }

    @Test func theLogIsRewrittenWhenItGrowsTooLong() throws {
        let fixture = try DiskFixture(size: 8 * 4096)
        let disk = try fixture.open()
        var longest: UInt64 = 0
        for round in 0..<3000 {
            let offset = UInt64(round % 8 * 4096)
            if round % 16 < 8 {
                try disk.store([UInt8(truncatingIfNeeded: round)], at: offset, fua: true)
            } else {
                try disk.zero(at: offset, length: 4096, mayTrim: true, fua: true)
            }
            longest = max(longest, disk.statistics.logBytes)
        }
        #expect(longest > 60_000 && longest < 70_000)
        #expect(disk.statistics.logBytes < longest)
        let expected = try disk.bytes()
        let lost = try fixture.copyFiles(to: "lost")
        #expect(try fixture.open(bootID: DiskFixture.otherBoot, folder: lost).bytes() == expected)
    }

    @Test func aFileThatMayNotGrowIsAFullDiskAndLosesNothing() async throws {
        let fixture = try DiskFixture(size: 64 * 4096)
        let (folder, base) = (fixture.folder, fixture.scratch.file("base"))
        await #expect(processExitsWith: .success) { [folder = folder as String, base = base as String] in
            let disk = try OverlayDisk.open(folder: folder, base: base, size: 64 * 4096, bootID: DiskFixture.boot)
            try disk.store([UInt8](repeating: 1, count: 16 * 4096), at: 0, fua: true)
            disk.seal(upTo: try disk.freeze().upTo)
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: 24 * 4096, rlim_max: 24 * 4096)
            setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit)
            // Twelve of sixteen blocks go in, and none of them is acknowledged.
            #expect(code { try disk.store([UInt8](repeating: 2, count: 16 * 4096), at: 12 * 4096) } == .noSpace)
            #expect(Content(try disk.bytes(at: 0, 12 * 4096)) == Content([UInt8](repeating: 1, count: 12 * 4096)))
            // A block that has room still works, flush as well.
            try disk.store([UInt8](repeating: 3, count: 4096), at: 0, fua: true)
        }
        let disk = try fixture.open()
        #expect(Content(try disk.block(0)) == Content([UInt8](repeating: 3, count: 4096)))
        #expect(Content(try disk.bytes(at: 4096, 11 * 4096)) == Content([UInt8](repeating: 1, count: 11 * 4096)))
        for index in 16..<64 {
            #expect(
                Content(try disk.block(UInt64(index)))
                    == Content(Array(fixture.base[index * 4096..<(index + 1) * 4096])))
        }
        #expect(disk.dirtyCount == 5, "blocks that a failed write may have changed count as changed")
    }
}

/// How many rounds the child has done, for the thread that kills it.
private final class Rounds: Sendable {
    let done = Atomic(0)
}
