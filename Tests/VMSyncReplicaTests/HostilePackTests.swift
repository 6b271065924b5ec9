import Foundation
import Testing
import VMSyncCheckpoint
import VMSyncCore
import VMSyncMachine
import VMSyncReplica
import VMSyncTestSupport

/// Packs with a right checksum and a right manifest, whose sections lie.
@Suite("A replica that gets a pack which lies")
struct HostilePackTests {
    /// What `body` fills is refused as damaged by a standby, and changes nothing of it: neither what its record says nor
    /// what its memory, disks and device state hold from the first to the last byte.
    private func expectRefused(
        _ body: (PackWriter) throws -> Void, changedBy change: (inout Data) -> Void = { _ in },
        because reason: String, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        try withPair(seed: 3) { _, standby, _ in
            let (record, before) = (standby.replica.record, try standby.replica.recomputedDigest())
            var manifest = standby.manifest(parent: record.sequence, parentDigest: record.digest.combined)
            manifest.sequence = record.sequence.next
            let state = try standby.replica.deviceState()
            var pack = try ForgedPack.write(manifest) { writer in
                try state.withUnsafeBytes { try writer.addDeviceState(state, parent: $0) }
                try body(writer)
            }
            change(&pack)
            try standby.put(pack, as: manifest.sequence)
            let error = #expect(throws: VMSyncError.self, sourceLocation: sourceLocation) {
                try standby.replica.applyInbox(manifest.sequence)
            }
            #expect(error?.code == .corrupt, sourceLocation: sourceLocation)
            #expect(error?.message.contains(reason) == true, "\(error as Any)", sourceLocation: sourceLocation)
            #expect(standby.replica.record == record, sourceLocation: sourceLocation)
            #expect(try standby.replica.recomputedDigest() == before, sourceLocation: sourceLocation)
            #expect(try standby.isSound(), sourceLocation: sourceLocation)
        }
    }

    /// A good page before the lie, so that whoever applies what it reads has changed something.
    private func addGoodPage(to writer: PackWriter) throws {
        try page(9).withUnsafeBytes { try writer.addMemory(0, $0, parent: nil) }
    }

    private func page(_ byte: UInt8) -> [UInt8] { [UInt8](repeating: byte, count: Unit.size) }

    @Test(
        "refuses a reference that leaves its memory, its disk or the disks",
        arguments: [
            ForgedSource.base(disk: 0, block: 256), .base(disk: 1, block: 2), .base(disk: 2, block: 0),
            .memory(4096), .disk(0, 256), .disk(1, 2), .disk(9, 0), .disk(0, 1 << 32),
        ])
    func reference(source: ForgedSource) throws {
        try expectRefused(
            { writer in
                try addGoodPage(to: writer)
                try page(1).withUnsafeBytes { try writer.addMemory(5, $0, parent: nil) { source.unitSource } }
            }, because: "reference is outside")
    }

    @Test("refuses a reference to what the pack doesn't give, or gives only later", arguments: [3, 5, 6, 4095])
    func notYetGiven(target: Int) throws {
        try expectRefused(
            { writer in
                try addGoodPage(to: writer)
                try page(1).withUnsafeBytes {
                    try writer.addMemory(5, $0, parent: nil) { .new(UnitID(.memory, target)) }
                }
                try page(2).withUnsafeBytes { try writer.addMemory(6, $0, parent: nil) }
            }, because: "isn't before it")
    }

    @Test("refuses a unit behind the end of memory or disk")
    func outside() throws {
        try expectRefused(
            { writer in
                try addGoodPage(to: writer)
                try page(1).withUnsafeBytes { try writer.addMemory(4096, $0, parent: nil) }
            }, because: "out of range")
        try expectRefused(
            { writer in
                try addGoodPage(to: writer)
                try page(1).withUnsafeBytes { try writer.addBlock(disk: 1, 2, $0) }
            }, because: "out of range")
    }

    @Test("refuses runs that leave their unit", arguments: [4096, 4097, 8000])
    func runs(position: Int) throws {
        var mask = [Bool](repeating: false, count: 2 * Unit.size)
        (mask[17], mask[position]) = (true, true)
        let patch = Patch([UInt8](repeating: 7, count: mask.count), where: mask)
        let unit = UnitID(.memory, 5)
        let content = PackContent(
            startsAtBase: false, clearsMemory: false,
            values: [UnitID(.memory, 0): .init(.whole(Page(page(9)))), unit: .init(.parent(unit), patch)])
        try expectRefused({ try content.write(to: $0) }, because: "a run leaves its unit")
    }

    /// The raw length stands behind the prologue and the first eight bytes of the section.
    private static let rawLength = 16 + 8

    @Test("refuses a section that holds more or less than it says", arguments: [-1, 1, 4096])
    func length(change: Int) throws {
        try expectRefused(
            { writer in
                try addGoodPage(to: writer)
                try page(1).withUnsafeBytes { try writer.addMemory(5, $0, parent: nil) }
            },
            changedBy: { pack in
                pack.addToNumber(at: Self.rawLength, change)
                pack.seal()
            }, because: change < 0 ? "a section doesn't decompress" : "and promised")
    }

    @Test("refuses a section that says that it is larger than any may be, without setting that much aside")
    func enormous() throws {
        try expectRefused(
            { try addGoodPage(to: $0) },
            changedBy: { pack in
                pack.addToNumber(at: Self.rawLength, 1 << 40)
                pack.seal()
            }, because: "a section header is impossible")
    }

    @Test("sees a change of any byte by the checksum, and takes the pack that was not changed")
    func sealedAgain() throws {
        try withPair(seed: 4) { _, standby, _ in
            let values: [UnitID: PackContent.Value] = [UnitID(.memory, 5): .init(.whole(Page(page(9))))]
            let content = PackContent(startsAtBase: false, clearsMemory: false, values: values)
            let forged = try ForgedPack(content, on: standby)
            var pack = forged.pack
            pack.addToNumber(at: Self.rawLength, 1)
            try standby.put(pack, as: forged.sequence)
            let error = #expect(throws: VMSyncError.self) { try standby.replica.applyInbox(forged.sequence) }
            #expect(error?.message.contains("checksum") == true)
            pack.addToNumber(at: Self.rawLength, -1)
            pack.seal()
            #expect(pack == forged.pack, "the tests above seal as a writer does")
            try standby.put(pack, as: forged.sequence)
            try standby.replica.applyInbox(forged.sequence)
            #expect(try PlainState(standby) == forged.expected)
        }
    }
}

/// A source as an argument of a test.
enum ForgedSource: Sendable, CustomTestStringConvertible {
    case base(disk: Int, block: Int)
    case memory(Int)
    case disk(Int, Int)

    var unitSource: UnitSource {
        switch self {
        case .base(let disk, let block): .base(disk: disk, block: block)
        case .memory(let page): .parent(UnitID(.memory, page))
        case .disk(let disk, let block): .parent(UnitID(.disk(disk), block))
        }
    }

    var testDescription: String { "\(unitSource)" }
}

extension Data {
    fileprivate mutating func addToNumber(at offset: Int, _ change: Int) {
        let bytes = self[offset..<offset + 8]
        let old = bytes.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        let new = UInt64(bitPattern: Int64(bitPattern: old) + Int64(change))
        Swift.withUnsafeBytes(of: new.littleEndian) { replaceSubrange(offset..<offset + 8, with: $0) }
    }

    /// Puts the right checksum at the end of a pack that was changed.
    fileprivate mutating func seal() {
        let end = count - 16
        let sum = [UInt8](self[..<end]).withUnsafeBytes { Hash128(of: $0) }
        Swift.withUnsafeBytes(of: sum.value.bigEndian) { replaceSubrange(end..<count, with: $0) }
    }
}
