import VMSyncCheckpoint
import VMSyncCore

/// Everything that a reader hands out of a pack, copied.
struct UnpackedPack {
    enum Source: Equatable {
        case zero
        case whole([UInt8])
        case own
        case base(disk: Int, block: Int)
        case parent(UnitID)
        case new(UnitID)
    }

    struct Run: Equatable {
        var position: Int
        var bytes: [UInt8]

        init(_ position: Int, _ bytes: [UInt8]) {
            self.position = position
            self.bytes = bytes
        }
    }

    struct Entry: Equatable {
        var unit: UnitID
        var source: Source
        var runs: [Run]

        init(_ unit: UnitID, _ source: Source, _ runs: [Run] = []) {
            self.unit = unit
            self.source = source
            self.runs = runs
        }
    }

    let manifest: Manifest
    let clearsMemory: Bool
    let entries: [Entry]
    let deviceState: [UInt8]?
    let stash: Set<UnitID>

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
        clearsMemory = reader.clearsMemory
        let validation = try reader.validate(parentDeviceState: parent)
        deviceState = validation.deviceState
        stash = Set(validation.stash)
        var entries: [Entry] = []
        try reader.forEachUnit { unit, value throws(VMSyncError) in entries.append(Entry(unit, value)) }
        self.entries = entries
    }

    subscript(_ unit: UnitID) -> Entry? { entries.first { $0.unit == unit } }

    /// Whether each unit lies in its memory or disk, once, each reference too, and each run in its unit.
    var isWithinBounds: Bool {
        var named: Set<UnitID> = []
        var last: [UnitSpace: Int] = [:]
        return entries.allSatisfy { entry in
            defer {
                named.insert(entry.unit)
                last[entry.unit.space] = entry.unit.index
            }
            return entry.unit.index > last[entry.unit.space, default: -1] && isThere(entry.unit)
                && isWithinBounds(entry.source, named) && areWithinBounds(entry.runs)
        }
    }

    private func isThere(_ unit: UnitID) -> Bool {
        if case .disk(let disk) = unit.space, !manifest.definition.disks.indices.contains(disk) { return false }
        return (0..<manifest.definition.unitCount(of: unit.space)).contains(unit.index)
    }

    private func isWithinBounds(_ source: Source, _ named: Set<UnitID>) -> Bool {
        switch source {
        case .zero, .own: true
        case .whole(let bytes): bytes.count == Unit.size
        case .base(let disk, let block): isThere(UnitID(.disk(disk), block))
        case .parent(let unit): isThere(unit)
        case .new(let unit): named.contains(unit)
        }
    }

    private func areWithinBounds(_ runs: [Run]) -> Bool {
        var end = 0
        return runs.allSatisfy { run in
            defer { end = run.position + run.bytes.count }
            return run.position >= end && !run.bytes.isEmpty && run.position + run.bytes.count <= Unit.size
        }
    }
}

extension UnpackedPack.Entry {
    init(_ unit: UnitID, _ value: UnitValue) {
        self.init(unit, UnpackedPack.Source(value.source))
        value.runs.forEach { position, bytes in runs.append(.init(position, Array(bytes))) }
    }
}

extension UnpackedPack.Source {
    init(_ source: UnitSource) {
        switch source {
        case .zero: self = .zero
        case .whole(let bytes): self = .whole(Array(bytes))
        case .own: self = .own
        case .base(let disk, let block): self = .base(disk: disk, block: block)
        case .parent(let unit): self = .parent(unit)
        case .new(let unit): self = .new(unit)
        }
    }
}

/// The error that reading `pack` gives; nil if it is taken.
func refusal(_ pack: [UInt8], parentState: [UInt8] = []) -> VMSyncError? {
    do throws(VMSyncError) {
        _ = try UnpackedPack(pack, parentState: parentState)
        return nil
    } catch {
        return error
    }
}

extension UnitID {
    static func page(_ index: Int) -> UnitID { UnitID(.memory, index) }
    static func block(_ index: Int, disk: Int = 0) -> UnitID { UnitID(.disk(disk), index) }
}

extension UnpackedPack {
    /// What the units that it names become, by the words of docs/format/checkpoint.md.
    func contents(parent: (UnitID) -> [UInt8], base: (UnitID) -> [UInt8]) -> [UnitID: [UInt8]] {
        var contents: [UnitID: [UInt8]] = [:]
        for entry in entries {
            var content: [UInt8] =
                switch entry.source {
                case .zero: [UInt8](repeating: 0, count: Unit.size)
                case .whole(let bytes): bytes
                case .own: parent(entry.unit)
                case .base(let disk, let block): base(.block(block, disk: disk))
                case .parent(let unit): parent(unit)
                case .new(let unit): contents[unit] ?? []
                }
            for run in entry.runs {
                content.replaceSubrange(run.position..<run.position + run.bytes.count, with: run.bytes)
            }
            contents[entry.unit] = content
        }
        return contents
    }
}
