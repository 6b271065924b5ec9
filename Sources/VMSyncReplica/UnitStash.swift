import Foundation
import VMSyncCheckpoint
import VMSyncCore

/// Units that a pack both uses and changes, as they were before it was applied (docs/format/checkpoint.md, "What a pack
/// says"). Kept in a file until the pack is applied: a daemon that was killed over it finds them there.
///
/// The file: sequence and count, 8 bytes each; for each unit its space (0 is memory, *n* + 1 is disk *n*) and its index,
/// 8 bytes each; then the units. Little-endian, and only ever read by a daemon on the device that wrote it.
struct UnitStash {
    private static let headerLength = 16
    private static let entryLength = 16

    private var places: [UnitID: Int] = [:]
    private var order: [UnitID] = []
    private var bytes: [UInt8] = []

    init() {}

    /// Reads back what `write` left at `path`.
    /// - Throws: `corrupt` if that isn't for this checkpoint.
    init(path: String, sequence: Sequence) throws(VMSyncError) {
        try MappedFile.with(path) { file throws(VMSyncError) in
            let length = file.count - Self.headerLength
            guard length >= 0, Self.number(file, at: 0) == sequence.rawValue,
                Self.number(file, at: 8) == length / (Self.entryLength + Unit.size),
                length % (Self.entryLength + Unit.size) == 0
            else { throw VMSyncError(.corrupt, "\(path) isn't that of checkpoint \(sequence)") }
            let count = length / (Self.entryLength + Unit.size)
            for entry in 0..<count {
                let at = Self.headerLength + entry * Self.entryLength
                let space = Int(Self.number(file, at: at))
                remember(UnitID(space == 0 ? .memory : .disk(space - 1), Int(Self.number(file, at: at + 8))))
            }
            bytes = Array(file[(Self.headerLength + count * Self.entryLength)...])
        }
    }

    /// Adds `unit`, whose content `read` puts into the memory that it gets.
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
    func with(_ unit: UnitID, _ body: (UnsafeRawBufferPointer) -> Void) -> Bool {
        guard let place = places[unit] else { return false }
        bytes.withRawBytes { body(UnsafeRawBufferPointer(rebasing: $0[place..<place + Unit.size])) }
        return true
    }

    func write(to path: String, sequence: Sequence) throws(VMSyncError) {
        var file: [UInt8] = []
        file.reserveCapacity(Self.headerLength + order.count * Self.entryLength + bytes.count)
        var numbers = [sequence.rawValue, UInt64(order.count)]
        for unit in order {
            if case .disk(let disk) = unit.space { numbers.append(UInt64(disk + 1)) } else { numbers.append(0) }
            numbers.append(UInt64(unit.index))
        }
        for number in numbers { withUnsafeBytes(of: number.littleEndian) { file.append(contentsOf: $0) } }
        file.append(contentsOf: bytes)
        try AtomicFile.write(bytes: file, to: path)
    }

    private static func number(_ file: UnsafeRawBufferPointer, at offset: Int) -> UInt64 {
        UInt64(littleEndian: file.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }
}
