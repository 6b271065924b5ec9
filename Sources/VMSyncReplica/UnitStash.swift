import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// Units that a pack both uses and changes, as they were before it was applied (docs/format/checkpoint.md, "What a pack
/// says"). Kept in a file until the pack is applied: a daemon that was killed over it finds them there.
struct UnitStash {
    private struct Content: Codable {
        var sequence: Sequence
        var units: [Unit]
        struct Unit: Codable {
            /// Nil for memory.
            var disk: Int?
            var index: Int
        }
        var bytes: Data
    }

    private var places: [UnitID: Int] = [:]
    private var order: [UnitID] = []
    private var bytes: [UInt8] = []

    init() {}

    /// Reads back what `write` left at `path`.
    /// - Throws: `corrupt` if there is none for this checkpoint.
    init(path: String, sequence: Sequence) throws(VMSyncError) {
        guard let content = try AtomicFile.read(Content.self, at: path), content.sequence == sequence,
            content.bytes.count == content.units.count * Unit.size
        else { throw VMSyncError(.corrupt, "\(path) doesn't belong to checkpoint \(sequence)") }
        for unit in content.units { remember(UnitID(unit.disk.map { .disk($0) } ?? .memory, unit.index)) }
        bytes = Array(content.bytes)
    }

    /// Where `read` is to put the content of `unit`.
    mutating func add(
        _ unit: UnitID, _ read: (UnsafeMutableRawBufferPointer) throws(VMSyncError) -> Void
    ) throws(VMSyncError) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(0, count: Unit.size))
        try bytes.withMutableRawBytes { bytes throws(VMSyncError) in
            try read(UnsafeMutableRawBufferPointer(rebasing: bytes[start...]))
        }
        remember(unit)
    }

    private mutating func remember(_ unit: UnitID) {
        places[unit] = order.count * Unit.size
        order.append(unit)
    }

    /// Calls `body` with the saved content of `unit`; false if it wasn't saved.
    func with(
        _ unit: UnitID, _ body: (UnsafeRawBufferPointer) -> Void
    ) -> Bool {
        guard let place = places[unit] else { return false }
        bytes.withRawBytes { body(UnsafeRawBufferPointer(rebasing: $0[place..<place + Unit.size])) }
        return true
    }

    func write(to path: String, sequence: Sequence) throws(VMSyncError) {
        let units = order.map { unit in
            switch unit.space {
            case .memory: Content.Unit(disk: nil, index: unit.index)
            case .disk(let disk): Content.Unit(disk: disk, index: unit.index)
            }
        }
        try AtomicFile.write(Content(sequence: sequence, units: units, bytes: Data(bytes)), to: path, durable: false)
    }
}
