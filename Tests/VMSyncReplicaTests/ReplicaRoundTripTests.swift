import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

@Suite("A replica follows")
struct ReplicaRoundTripTests {
    @Test("hundreds of checkpoints, with shutdowns, boots and switches of roles", arguments: 0..<4)
    func manyCheckpoints(seed: UInt64) throws {
        try withPair(seed: seed, checkpoints: 0) { first, second, random in
            var (active, standby) = (first, second)
            for round in 0..<120 {
                if !random.oneIn(6) { try active.runGuest(&random) }
                let sealed = try active.checkpoint(random.oneIn(12) ? .off : .live)
                #expect(sealed.digest == active.replica.record.digest.combined)
                if random.oneIn(3) { continue }
                try active.send(to: standby)
                if round % 8 == 0 {
                    #expect(try active.isSound())
                    #expect(try standby.isSound())
                    #expect(try active.content() == standby.content())
                }
                if random.oneIn(10) { (active, standby) = (standby, active) }
            }
            try active.send(to: standby)
            #expect(try active.isSound())
            #expect(try standby.isSound())
            #expect(try active.content() == standby.content())
            #expect(active.replica.record.sequence == Sequence(rawValue: 120))
        }
    }

    @Test("a checkpoint without any change names no unit")
    func empty() throws {
        try withPair(seed: 1) { active, standby, _ in
            let sealed = try active.checkpoint()
            #expect(sealed.units == 0)
            print("a checkpoint without any change: \(sealed.packBytes) bytes")
            try active.send(to: standby)
            #expect(try standby.isSound())
            #expect(try active.content() == standby.content())
        }
    }

    @Test("a page that was written with what it held already isn't sent")
    func unchangedWrites() throws {
        try withPair(seed: 2) { active, standby, _ in
            let page = active.replica.memory.writablePage(7)
            page[0] = 1
            try active.checkpoint()
            page[0] = 2
            page[0] = 1
            let block = try active.readDisk(0).prefix(Unit.size)
            try Array(block).withUnsafeBytes { try active.replica.overlays[0].store($0, at: 0) }
            let first = try active.checkpoint()
            #expect(first.units <= 1, "at most the block, if it was the base's before")
            try Array(block).withUnsafeBytes { try active.replica.overlays[0].store($0, at: 0) }
            #expect(try active.checkpoint().units == 0)
            try active.send(to: standby)
            #expect(try active.content() == standby.content())
        }
    }

    @Test("shut off: no memory, no device state, the disks stay")
    func off() throws {
        try withPair(seed: 3) { active, standby, _ in
            let disk = try active.readDisk(0)
            try active.checkpoint(.off)
            try active.send(to: standby)
            for device in [active, standby] {
                #expect(device.replica.record.kind == .off)
                #expect(try device.replica.deviceState().isEmpty)
                #expect(device.replica.memory.populatedRuns().isEmpty)
                #expect(isZero(device.replica.memory.pages(0..<device.replica.memory.units)))
                #expect(try device.readDisk(0) == disk)
                #expect(try device.isSound())
            }
        }
    }

    @Test("a keyframe replaces whatever a replica holds, even what a guest wrote there since")
    func keyframe() throws {
        try withPair(seed: 4, checkpoints: 1) { active, standby, random in
            try TestFolder.with(in: TestFolder.shared) { folder in
                let other = try TestDevice(folder + "/c")
                try other.runGuest(&random)
                try other.checkpoint()
                try other.runGuest(&random)
                try other.checkpoint()
                try other.runGuest(&random, writes: 500)
                let fresh = try TestDevice(folder + "/d")
                try fresh.runGuest(&random, writes: 500)
                let key = try active.checkpointAgainAsKeyframe()
                for device in [other, fresh] {
                    try device.put(key.pack, as: key.sequence)
                    try device.replica.applyInbox(key.sequence)
                    #expect(try device.isSound())
                    #expect(try device.content() == standby.content())
                }
            }
        }
    }

    @Test("back to the base, and on from there")
    func reset() throws {
        try withPair(seed: 5, checkpoints: 0) { active, standby, random in
            let base = try standby.content()
            try active.runGuest(&random)
            try active.checkpoint()
            try active.runGuest(&random)
            try active.replica.reset()
            #expect(try active.content() == base)
            #expect(try active.isSound())
            #expect(try active.replica.outbox().isEmpty)
            try active.runGuest(&random)
            try active.checkpoint()
            try active.send(to: standby)
            #expect(try active.content() == standby.content())
        }
    }

    @Test("what waits in the outbox doesn't move a replica on that went back to the parent of it")
    func backToParent() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 6)
            try Self.goBack(folder, &random)
            let device = try TestDevice(folder)
            #expect(device.replica.record.sequence == Sequence(rawValue: 1))
            #expect(try device.replica.outbox().map(\.sequence.rawValue) == [1])
            #expect(try device.isSound())
        }
    }

    /// Checkpoints 1 and 2 are sealed, neither is sent, and the replica goes back to 1.
    private static func goBack(_ folder: String, _ random: inout SeededRandom) throws {
        let device = try TestDevice(folder)
        try device.runGuest(&random)
        try device.checkpoint()
        let key = try device.checkpointAgainAsKeyframe()
        try device.runGuest(&random, writes: 100)
        try device.checkpoint()
        try device.put(key.pack, as: key.sequence)
        try device.replica.applyInbox(key.sequence)
    }
}
