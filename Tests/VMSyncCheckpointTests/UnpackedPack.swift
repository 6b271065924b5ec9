import Testing
import VMSyncCheckpoint
import VMSyncCore

/// Everything that a reader hands out of a pack, copied.
struct UnpackedPack {
    enum Change: Equatable {
        case zero
        case whole([UInt8])
        case delta([UInt8])
    }

    struct Entry: Equatable {
        var target: PackReader.Target
        var index: Int
        var change: Change
    }

    var manifest: Manifest
    var entries: [Entry] = []
    var deviceState: [UInt8]?

    /// Reads a pack as a replica does: nothing is used before everything is checked.
    init(_ pack: [UInt8], parentState: [UInt8] = []) throws(VMSyncError) {
        self = try pack.withRawBytes { bytes throws(VMSyncError) in
            try parentState.withRawBytes { parent throws(VMSyncError) in
                try UnpackedPack(PackReader(bytes), parent: parent)
            }
        }
    }

    private init(_ reader: PackReader, parent: UnsafeRawBufferPointer) throws(VMSyncError) {
        manifest = reader.manifest
        try reader.validate(parentDeviceState: parent)
        var entries: [Entry] = []
        try reader.forEachUnit { target, index, change throws(VMSyncError) in
            entries.append(Entry(target: target, index: index, change: Change(change)))
        }
        self.entries = entries
        deviceState = try reader.deviceState(parent: parent)
    }

    /// Whether each unit lies in its memory or disk, once, and each change in its unit.
    var isWithinBounds: Bool {
        var last: [PackReader.Target: Int] = [:]
        return entries.allSatisfy { entry in
            defer { last[entry.target] = entry.index }
            return entry.index > last[entry.target, default: -1] && entry.index < units(of: entry.target)
                && entry.change.isWithinBounds && (entry.target == .memory || !entry.change.isDelta)
        }
    }

    private func units(of target: PackReader.Target) -> Int {
        switch target {
        case .memory: manifest.definition.memoryUnits
        case .disk(let disk): Unit.count(ofBytes: manifest.definition.disks[disk].size)
        }
    }
}

extension UnpackedPack.Change {
    init(_ change: UnitChange) {
        switch change {
        case .zero: self = .zero
        case .whole(let bytes): self = .whole(Array(bytes))
        case .delta(let bytes): self = .delta(Array(bytes))
        }
    }

    var isDelta: Bool { if case .delta = self { true } else { false } }

    var isWithinBounds: Bool {
        switch self {
        case .zero: true
        case .whole(let bytes): bytes.count == Unit.size
        case .delta(let bytes): bytes.withUnsafeBytes { Delta.isValid($0) }
        }
    }
}

/// The code of the error that reading `pack` gives; nil if it is taken.
func refusal(_ pack: [UInt8], parentState: [UInt8] = []) -> VMSyncError? {
    do throws(VMSyncError) {
        _ = try UnpackedPack(pack, parentState: parentState)
        return nil
    } catch {
        return error
    }
}
