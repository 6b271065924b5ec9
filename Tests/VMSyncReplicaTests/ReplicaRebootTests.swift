import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// A reboot is played by another boot id: memory and hashes of memory are then worth nothing, whatever they hold.
@Suite("After a reboot")
struct ReplicaRebootTests {
    @Test("a live replica begins again from the base, and what waits still waits")
    func live() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 1)
            let sealed = try Self.run(folder, &random) { try $0.checkpoint() }
            let pack = try Data(contentsOf: URL(fileURLWithPath: sealed.packPath))
            for boot in ["boot-2", "boot-3"] {
                let device = try TestDevice(folder, bootID: boot)
                #expect(device.replica.record.sequence == .base && device.replica.record.bootID == boot)
                #expect(try device.replica.outbox() == [sealed])
                #expect(try Data(contentsOf: URL(fileURLWithPath: sealed.packPath)) == pack)
                #expect(try device.isSound())
                // Rebuilding is for what is here, not for what others need; but what was asked for is gone.
                try device.replica.close()
            }
            let device = try TestDevice(folder, bootID: "boot-3")
            device.replica.acknowledge(sealed.sequence)
            #expect(try device.replica.outbox().isEmpty)
        }
    }

    @Test("of what waits as much survives as is whole")
    func torn() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 11)
            let sealed = try Self.run(folder, &random) { device in
                var later = SeededRandom(seed: 12)
                var sealed = [try device.checkpoint()]
                for _ in 0..<2 {
                    try device.runGuest(&later)
                    sealed.append(try device.checkpoint())
                }
                return sealed
            }
            let torn = URL(fileURLWithPath: sealed[1].packPath)
            let whole = try Data(contentsOf: torn)
            try whole.prefix(whole.count / 2).write(to: torn)
            let device = try TestDevice(folder, bootID: "boot-2")
            #expect(try device.replica.outbox() == [sealed[0]])
            #expect(!FileManager.default.fileExists(atPath: sealed[2].packPath), "it follows nothing any more")
        }
    }

    @Test("a VM that was shut off is what it was, and goes on from there")
    func off() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 2)
            let disk = try Self.run(folder + "/a", &random) { device in
                try device.checkpoint(.off)
                return try device.readDisk(0)
            }
            let device = try TestDevice(folder + "/a", bootID: "boot-2")
            #expect(device.replica.record.sequence == Sequence(rawValue: 1))
            #expect(try device.readDisk(0) == disk)
            #expect(try device.isSound())
            #expect(device.replica.overlays.allSatisfy { $0.dirtyCount == 0 })
            try device.runGuest(&random)
            try device.checkpoint()
            let standby = try TestDevice(folder + "/b")
            try device.send(to: standby)
            #expect(try device.content() == standby.content())
        }
    }

    @Test("what a guest wrote to its disk since it was shut off is kept, and is in the next checkpoint")
    func offAndWritten() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 3)
            let disk = try Self.run(folder + "/a", &random) { device in
                try device.checkpoint(.off)
                var later = SeededRandom(seed: 30)
                try device.runGuest(&later, writes: 100)
                for overlay in device.replica.overlays { try overlay.flush() }
                return try device.readDisk(0)
            }
            let device = try TestDevice(folder + "/a", bootID: "boot-2")
            #expect(try device.readDisk(0) == disk)
            #expect(isZero(device.replica.memory.pages(0..<device.replica.memory.units)))
            try device.checkpoint(.off)
            let standby = try TestDevice(folder + "/b")
            try device.send(to: standby)
            #expect(try standby.readDisk(0) == disk)
            #expect(try device.isSound())
        }
    }

    @Test("a pack that was being applied is forgotten with the rest")
    func applying() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 4)
            let active = try TestDevice(folder + "/a")
            try active.runGuest(&random)
            let first = try active.checkpoint(.off)
            try Self.run(folder + "/b", &random) { try $0.fetch(first) }
            let standby = try TestDevice(folder + "/b", bootID: "boot-2")
            try standby.fetch(first)
            try standby.replica.applyInbox(first.sequence)
            #expect(try standby.isSound())
            #expect(try standby.content() == active.content())
        }
    }

    /// A device in its first boot, let go of at the end.
    @discardableResult
    private static func run<Result>(
        _ folder: String, _ random: inout SeededRandom, _ body: (TestDevice) throws -> Result
    ) throws -> Result {
        let device = try TestDevice(folder)
        try device.runGuest(&random, writes: 100)
        return try body(device)
    }
}
