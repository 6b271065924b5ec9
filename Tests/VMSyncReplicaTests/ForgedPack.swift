import Foundation
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// A pack that no sealing made, for a replica to follow with.
struct ForgedPack {
    let pack: Data
    let sequence: Sequence
    /// What the replica holds if it is applied.
    let expected: PlainState
    let tally: PackTally
    /// Units that must be saved before it is applied.
    let stashed: Int

    /// A pack of `content` on top of what `device` holds.
    init(_ content: PackContent, kind: Manifest.Kind = .live, on device: TestDevice) throws {
        let (replica, record) = (device.replica, device.replica.record)
        let parentState = try replica.deviceState()
        let state: [UInt8] = kind == .live ? parentState + [1] : []
        expected = try PlainState(device).followed(by: content, base: device.baseBytes())
        var manifest = device.manifest(parent: record.sequence, parentDigest: record.digest.combined)
        manifest.sequence = record.sequence.next
        manifest.kind = kind
        manifest.digest = expected.digest(deviceState: state)
        manifest.deviceStateBytes = state.count
        sequence = manifest.sequence
        var tally = PackTally()
        pack = try Self.write(manifest, clearsMemory: kind == .live && content.clearsMemory) { writer in
            if kind == .live { try parentState.withUnsafeBytes { try writer.addDeviceState(state, parent: $0) } }
            try content.write(to: writer)
            tally = writer.tally
        }
        self.tally = tally
        stashed = try [UInt8](pack).withUnsafeBytes { bytes in
            try parentState.withUnsafeBytes { try PackReader(bytes).validate(parentDeviceState: $0).stash.count }
        }
    }

    /// The bytes of a pack that `body` fills.
    static func write(
        _ manifest: Manifest, clearsMemory: Bool = false, _ body: (PackWriter) throws -> Void
    ) throws -> Data {
        var pack = Data()
        let writer = try PackWriter(clearsMemory: clearsMemory) { pack.append(contentsOf: $0) }
        try body(writer)
        _ = try writer.finish(manifest)
        return pack
    }
}

extension PackContent {
    /// Units that forged packs are about: few, so that one value is often the source of another.
    static let pages = 48
    static let blocks = [24, 2]

    /// Values of every kind, for pages and blocks.
    static func random(_ random: inout SeededRandom, kind: Manifest.Kind = .live, clearsMemory: Bool) -> PackContent {
        var content = PackContent(startsAtBase: false, clearsMemory: kind == .off || clearsMemory, values: [:])
        let contents = (0..<4).map { _ in random.bytes(Unit.size) }
        for _ in 0..<40 {
            let unit = unit(&random)
            if kind == .off, unit.space == .memory { continue }
            content.values[unit] = value(of: unit, contents, &random)
        }
        return content
    }

    private static func unit(_ random: inout SeededRandom) -> UnitID {
        if random.oneIn(2) { return UnitID(.memory, random.number(0..<pages)) }
        let disk = random.number(0..<2)
        return UnitID(.disk(disk), random.number(0..<blocks[disk]))
    }

    private static func value(of unit: UnitID, _ contents: [[UInt8]], _ random: inout SeededRandom) -> Value {
        var patch: Patch?
        if random.oneIn(2) {
            var mask = [Bool](repeating: false, count: Unit.size)
            let start = random.number(0..<Unit.size)
            for byte in start..<min(start + 50, Unit.size) where random.oneIn(3) || byte == start { mask[byte] = true }
            patch = Patch(random.bytes(Unit.size), where: mask)
        }
        switch random.number(0..<6) {
        case 0: return Value(.zero, patch)
        case 1: return Value(.whole(Page(contents[random.number(0..<contents.count)])), patch)
        case 2:
            let disk = random.number(0..<2)
            return Value(.base(disk: disk, block: random.number(0..<blocks[disk])), patch)
        case 3: return Value(.parent(unit), patch)
        default: return Value(.parent(self.unit(&random)), patch)
        }
    }
}
