import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// Packs as a merge makes them: values of every source, many of them of units that the pack changes too.
@Suite("A pack of every source")
struct EverySourceTests {
    @Test("makes what its values say, of live VMs, of those shut off, and of those started again", arguments: 0..<4)
    func applied(seed: UInt64) throws {
        try withPair(seed: seed) { _, standby, random in
            var total = PackTally()
            var stashed = 0
            for round in 0..<16 {
                let kind: Manifest.Kind = round % 8 == 7 ? .off : .live
                let content = PackContent.random(&random, kind: kind, clearsMemory: random.oneIn(5))
                let forged = try ForgedPack(content, kind: kind, on: standby)
                try standby.put(forged.pack, as: forged.sequence)
                try standby.replica.applyInbox(forged.sequence)
                #expect(try PlainState(standby) == forged.expected)
                #expect(try standby.isSound())
                total.add(forged.tally)
                stashed += forged.stashed
            }
            #expect(total.zero > 0 && total.carried > 0 && total.own > 0)
            #expect(total.base > 0 && total.parent > 0 && total.new > 0)
            #expect(stashed > 20)
            #expect(!FileManager.default.fileExists(atPath: standby.paths.stash))
        }
    }

    @Test(
        "is applied again by the next daemon, wherever the first was killed, and makes the same",
        arguments: [
            "apply-begun", "apply-unit@2", "apply-unit@9", "apply-unit@17", "apply-units-done", "apply-unrecorded",
        ])
    func killed(point: String) async throws {
        try await TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 40)
            for round in 0..<3 {
                let content = PackContent.random(&random, clearsMemory: round == 2)
                let forged = try Self.put(content, folder)
                let sequence = forged.sequence.rawValue
                await #expect(processExitsWith: .signal(SIGKILL)) {
                    [folder = folder as String, point = point as String, sequence = sequence as UInt64] in
                    setenv("VMSYNC_FAULT", point + ":kill", 1)
                    try TestDevice(folder).replica.applyInbox(Sequence(rawValue: sequence))
                }
                let standby = try TestDevice(folder)
                #expect(standby.replica.interruptedApply == forged.sequence)
                try standby.replica.applyInbox(forged.sequence)
                #expect(forged.stashed > 0)
                #expect(try PlainState(standby) == forged.expected)
                #expect(try standby.isSound())
            }
        }
    }

    @Test("in which thousands of pages change places is applied again too")
    func manyStashed() async throws {
        try await TestFolder.with(in: TestFolder.shared) { folder in
            try Self.fill(folder, pages: 2000)
            var content = PackContent(startsAtBase: false, clearsMemory: false, values: [:])
            for page in 0..<2000 {
                content.values[UnitID(.memory, page)] = .init(.parent(UnitID(.memory, (page + 1) % 2000)))
            }
            let forged = try Self.put(content, folder)
            #expect(forged.stashed == 2000)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [folder = folder as String, sequence = forged.sequence.rawValue as UInt64] in
                setenv("VMSYNC_FAULT", "apply-unit@1000:kill", 1)
                try TestDevice(folder).replica.applyInbox(Sequence(rawValue: sequence))
            }
            let standby = try TestDevice(folder)
            try standby.replica.applyInbox(forged.sequence)
            #expect(try PlainState(standby) == forged.expected)
            #expect(try standby.isSound())
        }
    }

    @Test("that was broken off and has lost what it had saved is never run, and the replica begins again")
    func lostStash() async throws {
        try await TestFolder.with(in: TestFolder.shared) { folder in
            var random = SeededRandom(seed: 41)
            let forged = try Self.put(.random(&random, clearsMemory: false), folder)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [folder = folder as String, sequence = forged.sequence.rawValue as UInt64] in
                setenv("VMSYNC_FAULT", "apply-unit@15:kill", 1)
                try TestDevice(folder).replica.applyInbox(Sequence(rawValue: sequence))
            }
            let standby = try TestDevice(folder)
            try FileManager.default.removeItem(atPath: standby.paths.stash)
            #expect(throws: VMSyncError.self) { try standby.replica.applyInbox(forged.sequence) }
            #expect(standby.replica.record.damage != nil)
            #expect(throws: VMSyncError.self) { try standby.checkpoint() }
            #expect(throws: VMSyncError.self) { try standby.replica.applyInbox(forged.sequence) }
            try standby.replica.reset()
            #expect(try standby.isSound())
        }
    }

    /// A device in `folder` at checkpoint 1 or later, with a pack of `content` in its inbox.
    private static func put(_ content: PackContent, _ folder: String) throws -> ForgedPack {
        if !FileManager.default.fileExists(atPath: folder + "/state") { try fill(folder, pages: PackContent.pages) }
        let device = try TestDevice(folder)
        let forged = try ForgedPack(content, on: device)
        try device.put(forged.pack, as: forged.sequence)
        return forged
    }

    /// Makes a device in `folder`, with one checkpoint of a memory of random pages.
    private static func fill(_ folder: String, pages: Int) throws {
        let device = try TestDevice(folder)
        var random = SeededRandom(seed: 42)
        for page in 0..<pages { device.replica.memory.writablePage(page).copyBytes(from: random.bytes(Unit.size)) }
        try device.checkpoint()
    }
}

extension PackTally {
    fileprivate mutating func add(_ other: PackTally) {
        zero += other.zero
        whole += other.whole
        pixels += other.pixels
        samples += other.samples
        own += other.own
        base += other.base
        parent += other.parent
        new += other.new
    }
}
