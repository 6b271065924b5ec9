import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

@Suite("A replica refuses")
struct ReplicaRefusalTests {
    /// Expects that `pack` is refused with `code` and that nothing of the standby changes by it.
    private func expectRefused(
        _ pack: Data, as sequence: Sequence, by standby: TestDevice, _ code: VMSyncError.Code,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let (before, record) = (try standby.content(), standby.replica.record)
        try standby.put(pack, as: sequence)
        let error = #expect(throws: VMSyncError.self, sourceLocation: sourceLocation) {
            try standby.replica.applyInbox(sequence)
        }
        #expect(error?.code == code, sourceLocation: sourceLocation)
        #expect(standby.replica.record == record, sourceLocation: sourceLocation)
        #expect(try standby.content() == before, sourceLocation: sourceLocation)
        #expect(try standby.isSound(), sourceLocation: sourceLocation)
    }

    private func pack(_ checkpoint: SealedCheckpoint) throws -> Data {
        try Data(contentsOf: URL(fileURLWithPath: checkpoint.packPath))
    }

    @Test("a damaged pack, at whatever place", arguments: 0..<2)
    func damaged(seed: UInt64) throws {
        try withPair(seed: seed) { active, standby, random in
            try active.runGuest(&random)
            let checkpoint = try active.checkpoint()
            let good = try pack(checkpoint)
            for _ in 0..<12 {
                var bad = good
                bad[random.number(0..<bad.count)] ^= 1 << UInt8(random.number(0..<8))
                if bad[8...11] == good[8...11] {
                    try expectRefused(bad, as: checkpoint.sequence, by: standby, .corrupt)
                }
                let cut = good.prefix(random.number(0..<good.count))
                try expectRefused(Data(cut), as: checkpoint.sequence, by: standby, .corrupt)
            }
            try active.send(to: standby)
            #expect(try active.content() == standby.content())
        }
    }

    @Test("a damaged keyframe, without losing what it holds")
    func damagedKeyframe() throws {
        try withPair(seed: 1, checkpoints: 1) { active, standby, _ in
            let pack = try Self.lyingKeyframe(of: active)
            try expectRefused(pack, as: Sequence(rawValue: 1), by: standby, .corrupt)
        }
    }

    /// A keyframe with a right checksum, whose device state isn't the one that its digest names.
    private static func lyingKeyframe(of device: TestDevice) throws -> Data {
        var pack = Data()
        let writer = try PackWriter { pack.append(contentsOf: $0) }
        let wrong = [UInt8](repeating: 7, count: 9)
        try writer.addDeviceState(wrong)
        var manifest = device.manifest(parent: .base, parentDigest: StateDigest.base(disks: 2).combined)
        manifest.deviceStateBytes = wrong.count
        _ = try writer.finish(manifest)
        return pack
    }

    @Test("a pack of another VM, another number or another machine")
    func foreign() throws {
        try withPair(seed: 2) { active, standby, random in
            try TestFolder.with(in: TestFolder.shared) { folder in
                let stranger = try TestDevice(folder + "/s", vm: .random())
                try stranger.runGuest(&random)
                let foreign = try stranger.checkpoint()
                try expectRefused(try pack(foreign), as: foreign.sequence, by: standby, .corrupt)
            }
            let next = try active.checkpoint()
            try expectRefused(try pack(next), as: next.sequence.next, by: standby, .corrupt)
            var manifest = active.manifest(parent: standby.replica.record.sequence, parentDigest: .zero)
            manifest.definition.cores = 2
            try expectRefused(try empty(manifest), as: next.sequence, by: standby, .incompatible)
        }
    }

    @Test("a pack that doesn't follow, by its number or by its digest")
    func outOfOrder() throws {
        try withPair(seed: 3) { active, standby, random in
            try active.runGuest(&random)
            let first = try active.checkpoint()
            try active.runGuest(&random)
            let second = try active.checkpoint()
            try expectRefused(try pack(second), as: second.sequence, by: standby, .outOfOrder)
            let manifest = active.manifest(parent: standby.replica.record.sequence, parentDigest: .zero)
            try expectRefused(try empty(manifest), as: second.sequence, by: standby, .outOfOrder)
            try active.send(to: standby)
            try standby.put(try empty(manifest), as: first.sequence)
            #expect(throws: VMSyncError.self) { try standby.replica.applyInbox(first.sequence) }
            #expect(try active.content() == standby.content())
        }
    }

    private func empty(_ manifest: Manifest) throws -> Data {
        var pack = Data()
        let writer = try PackWriter { pack.append(contentsOf: $0) }
        try writer.addDeviceState([UInt8](repeating: 0, count: manifest.deviceStateBytes))
        _ = try writer.finish(manifest)
        return pack
    }

    @Test("a missing pack")
    func missing() throws {
        try withPair(seed: 4) { _, standby, _ in
            let error = #expect(throws: VMSyncError.self) {
                try standby.replica.applyInbox(standby.replica.record.sequence.next)
            }
            #expect(error?.code == .notFound)
        }
    }

    @Test("a pack on top of what a guest wrote here since")
    func ownWrites() throws {
        try withPair(seed: 5) { active, standby, _ in
            try active.send(to: standby)
            try [UInt8](repeating: 1, count: 100).withUnsafeBytes { try standby.replica.overlays[0].store($0, at: 5) }
            let next = try active.checkpoint()
            try standby.fetch(next)
            let error = #expect(throws: VMSyncError.self) { try standby.replica.applyInbox(next.sequence) }
            #expect(error?.code == .wrongState)
        }
    }

    /// The manifest is right in itself, and only applying shows that the units don't make the state that it names.
    @Test("to run what came out otherwise than promised, until a keyframe comes")
    func wrongDigest() throws {
        try withPair(seed: 6, checkpoints: 1) { active, standby, random in
            let key = try active.checkpointAgainAsKeyframe()
            try active.runGuest(&random)
            let next = try active.checkpoint()
            var manifest = active.manifest(
                parent: Sequence(rawValue: 1), parentDigest: standby.replica.record.digest.combined)
            manifest.digest.memory = Hash128(value: 1)
            manifest.deviceStateBytes = try active.replica.deviceState().count
            var lie = Data()
            let writer = try PackWriter { lie.append(contentsOf: $0) }
            try writer.addDeviceState(try active.replica.deviceState())
            _ = try writer.finish(manifest)
            try standby.put(lie, as: next.sequence)
            #expect(throws: VMSyncError.self) { try standby.replica.applyInbox(next.sequence) }
            #expect(standby.replica.record.damage != nil)
            try standby.fetch(next)
            #expect(throws: VMSyncError.self) { try standby.replica.applyInbox(next.sequence) }
            #expect(throws: VMSyncError.self) { try standby.checkpoint() }
            try standby.put(key.pack, as: key.sequence)
            try standby.replica.applyInbox(key.sequence)
            try standby.fetch(next)
            try standby.replica.applyInbox(next.sequence)
            #expect(try standby.isSound())
            #expect(try standby.content() == active.content())
        }
    }
}
