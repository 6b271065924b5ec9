import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// What the receiver has too is not sent, and it gets the right content all the same.
@Suite("A checkpoint refers to what stands")
struct ContentSearchTests {
    /// What `change` makes of the active device is sealed and sent; the tally of that one pack.
    private func tally(
        seed: UInt64 = 1, after prepare: (TestDevice) throws -> Void = { _ in }, _ kind: Manifest.Kind = .live,
        of change: (TestDevice) throws -> Void
    ) throws -> PackTally {
        var tally = PackTally()
        try withPair(seed: seed, checkpoints: 0) { active, standby, _ in
            try prepare(active)
            try active.checkpoint()
            try active.send(to: standby)
            try change(active)
            try active.checkpoint(kind)
            tally = active.replica.lastTally
            try active.send(to: standby)
            #expect(try PlainState(standby) == PlainState(active))
            #expect(try active.isSound())
            #expect(try standby.isSound())
        }
        return tally
    }

    private static let content: [UInt8] = {
        var random = SeededRandom(seed: 7)
        return random.bytes(Unit.size)
    }()

    @Test("on the base image")
    func base() throws {
        let tally = try tally { device in
            let base = try device.baseBytes()
            let blocks = (0..<3).map { Array(base[($0 + 10) * Unit.size..<($0 + 11) * Unit.size]) }
            try device.write(blocks[0], to: UnitID(.memory, 5))
            try device.write(blocks[1], to: UnitID(.memory, 900))
            try device.write(blocks[2], to: UnitID(.disk(0), 200))
        }
        #expect(tally.base == 3)
        #expect(tally.carried + tally.parent + tally.new == 0)
    }

    @Test("on a disk")
    func disk() throws {
        let tally = try tally {
            try $0.write(Self.content, to: UnitID(.disk(0), 150))
        } of: { device in
            try device.write(Self.content, to: UnitID(.memory, 5))
            try device.write(Self.content, to: UnitID(.disk(0), 7))
        }
        #expect(tally.parent == 2)
        #expect(tally.carried + tally.base + tally.new == 0)
    }

    @Test("in memory, for a page that moves and for a block that is written back")
    func memory() throws {
        let tally = try tally {
            try $0.write(Self.content, to: UnitID(.memory, 77))
        } of: { device in
            try device.write(Self.content, to: UnitID(.memory, 4000))
            try device.write(Self.content, to: UnitID(.disk(0), 31))
        }
        #expect(tally.parent == 2)
        #expect(tally.carried + tally.base + tally.new == 0)
    }

    @Test("in the checkpoint itself: what is new in several places goes once")
    func twice() throws {
        let tally = try tally { device in
            for page in [3, 60, 61] { try device.write(Self.content, to: UnitID(.memory, page)) }
            try device.write(Self.content, to: UnitID(.disk(0), 31))
        }
        #expect(tally.carried == 1)
        #expect(tally.new == 3)
    }

    @Test("but not to what the checkpoint changes, so that nothing has to be saved")
    func changed() throws {
        let other = Self.content.map { $0 ^ 0x55 }
        let tally = try tally {
            try $0.write(Self.content, to: UnitID(.memory, 1))
            try $0.write(other, to: UnitID(.disk(0), 2))
        } of: { device in
            // The page goes to the block's place, and the block to the page's.
            try device.write(other, to: UnitID(.memory, 1))
            try device.write(Self.content, to: UnitID(.disk(0), 2))
        }
        #expect(tally.parent == 0)
        #expect(tally.carried == 2)
    }

    @Test("but not to memory, of a VM that is shut off")
    func off() throws {
        let tally = try tally(
            after: { try $0.write(Self.content, to: UnitID(.memory, 77)) }, .off
        ) { device in
            try device.write(Self.content, to: UnitID(.disk(0), 31))
        }
        #expect(tally.parent + tally.new == 0)
        #expect(tally.carried == 1)
    }

    @Test("and gives what was captured, though the guest goes on writing over it", arguments: 0..<4)
    func guestRuns(seed: UInt64) throws {
        try withPair(seed: seed) { active, standby, random in
            var total = (base: 0, parent: 0, new: 0)
            for _ in 0..<16 {
                try active.copyAbout(&random)
                let capture = try active.replica.capture(tracker: nil)
                let captured = try PlainState(active)
                // Only what was copied is safe from the guest: a small checkpoint is.
                try #require(capture.mayRun)
                try active.copyAbout(&random)
                try active.seal(capture)
                try active.send(to: standby)
                #expect(try PlainState(standby) == captured)
                #expect(try standby.isSound())
                let tally = active.replica.lastTally
                total = (total.base + tally.base, total.parent + tally.parent, total.new + tally.new)
            }
            #expect(total.base > 10 && total.parent > 10 && total.new > 10)
        }
    }

    @Test("and is right after roles change, a shutdown, and a new daemon")
    func lives() throws {
        try TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 9)
            for life in 0..<12 {
                let names = life % 4 < 2 ? ["a", "b"] : ["b", "a"]
                let active = try TestDevice(folder + "/" + names[0])
                let standby = try TestDevice(folder + "/" + names[1])
                for _ in 0..<3 {
                    try active.copyAbout(&random)
                    try active.checkpoint(random.oneIn(5) ? .off : .live)
                    try active.send(to: standby)
                }
                #expect(try PlainState(standby) == PlainState(active))
                #expect(try active.isSound())
                #expect(try standby.isSound())
            }
        }
    }
}

extension PackTally {
    /// Units of which all bytes are in the pack.
    var carried: Int { whole + pixels + samples }
}

extension TestDevice {
    func write(_ bytes: [UInt8], to unit: UnitID) throws {
        switch unit.space {
        case .memory: replica.memory.writablePage(unit.index).copyBytes(from: bytes)
        case .disk(let disk):
            let offset = unit.index * Unit.size
            let count = min(Unit.size, Int(replica.overlays[disk].size) - offset)
            try bytes.withUnsafeBytes {
                try replica.overlays[disk].store(UnsafeRawBufferPointer(rebasing: $0[..<count]), at: UInt64(offset))
            }
        }
    }

    /// What a guest does that reads files, writes them back and moves its pages: contents that stand somewhere already,
    /// among a few places, and now and then a new one.
    func copyAbout(_ random: inout SeededRandom) throws {
        let state = try PlainState(self)
        let base = try baseBytes()
        for _ in 0..<random.number(4..<30) {
            var bytes: [UInt8]
            switch random.number(0..<4) {
            case 0: bytes = Array(base[random.number(0..<20) * Unit.size..<base.count].prefix(Unit.size))
            case 1: bytes = random.bytes(Unit.size)
            default: bytes = state.unit(Self.place(&random))
            }
            if random.oneIn(8) { bytes[random.number(0..<Unit.size)] ^= 1 }
            for _ in 0..<random.number(1..<4) { try write(bytes, to: Self.place(&random)) }
        }
    }

    private static func place(_ random: inout SeededRandom) -> UnitID {
        switch random.number(0..<8) {
        case 0..<5: UnitID(.memory, random.number(0..<80))
        case 5, 6: UnitID(.disk(0), random.number(0..<40))
        default: UnitID(.disk(1), random.number(0..<2))
        }
    }
}
