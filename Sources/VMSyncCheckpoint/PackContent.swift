import VMSyncCore

/// What a pack assigns, out of its bytes: the form in which packs are merged.
package struct PackContent: Equatable {
    /// Where a value comes from; *own* is the unit of the parent itself, and what the pack itself gives is put in place.
    package enum Source: Equatable {
        case zero
        case whole(Page)
        case base(disk: Int, block: Int)
        case parent(UnitID)
    }

    package struct Value: Equatable {
        package var source: Source
        /// Overwrites the source; nil or at least one run.
        package var patch: Patch?

        package init(_ source: Source, _ patch: Patch? = nil) {
            self.source = source
            self.patch = patch
        }
    }

    /// Whether everything that the pack doesn't name is as in the base: a keyframe.
    package var startsAtBase: Bool
    /// Whether memory that the pack doesn't name is zero.
    package var clearsMemory: Bool
    package var values: [UnitID: Value]
    /// Where whole pages are kept; nil for each by itself.
    let pages: (any PageStore)?

    package init(startsAtBase: Bool, clearsMemory: Bool, values: [UnitID: Value], pages: (any PageStore)? = nil) {
        self.startsAtBase = startsAtBase
        self.clearsMemory = clearsMemory
        self.values = values
        self.pages = pages
    }

    package static func == (left: PackContent, right: PackContent) -> Bool {
        left.startsAtBase == right.startsAtBase && left.clearsMemory == right.clearsMemory
            && left.values == right.values
    }

    /// Takes in all units of a pack.
    package init(_ reader: PackReader, pages: (any PageStore)? = nil) throws(VMSyncError) {
        self.init(
            startsAtBase: reader.manifest.isKeyframe, clearsMemory: reader.clearsMemory, values: [:], pages: pages)
        try reader.forEachUnit { unit, value throws(VMSyncError) in
            values[unit] = try owned(value, of: unit)
        }
    }

    private func owned(_ value: UnitValue, of unit: UnitID) throws(VMSyncError) -> Value {
        let patch = value.runs.isEmpty ? nil : Patch(value.runs)
        switch value.source {
        case .zero: return try Value(.zero).patched(patch, pages)
        case .whole(let bytes): return try Value(.whole(Page(bytes, in: pages))).patched(patch, pages)
        case .own: return Value(.parent(unit), patch)
        case .base(let disk, let block): return Value(.base(disk: disk, block: block), patch)
        case .parent(let source): return Value(.parent(source), patch)
        // A reader has checked that it stands before.
        case .new(let source): return try values[source, default: Value(.zero)].patched(patch, pages)
        }
    }

    /// Gives all values to `writer`, in its order. Equal contents go once.
    package func write(to writer: PackWriter) throws(VMSyncError) {
        var first: [Hash128: UnitID] = [:]
        for unit in values.keys.sorted() {
            guard let value = values[unit] else { continue }
            try write(value, of: unit, to: writer, &first)
        }
    }

    private func write(
        _ value: Value, of unit: UnitID, to writer: PackWriter, _ first: inout [Hash128: UnitID]
    ) throws(VMSyncError) {
        switch value.source {
        case .zero:
            try writer.add(unit, .zero, value.patch)
        case .base(let disk, let block):
            try writer.add(unit, .base(disk: disk, block: block), value.patch)
        case .parent(let source):
            switch form(of: source, in: unit, patched: value.patch != nil) {
            case .own: try writer.add(unit, .own, value.patch)
            case .reference: try writer.add(unit, .parent(source), value.patch)
            case .nothing: return
            }
        case .whole(let page):
            try page.withBytes { content throws(VMSyncError) in
                let hash = UnitHash.block(content)
                if let earlier = first[hash], values[earlier]?.source == value.source {
                    return try writer.add(unit, .new(earlier), value.patch)
                }
                if value.patch == nil { first[hash] = unit }
                try writer.add(unit, .whole(content), value.patch)
            }
        }
    }
}

extension PackContent {
    /// How a unit of the parent is written where it is a source.
    enum ParentForm {
        case own
        case reference
        /// The unit needn't be named at all.
        case nothing
    }

    func form(of source: UnitID, in unit: UnitID, patched: Bool) -> ParentForm {
        let isMemory = unit.space == .memory
        // Where memory is cleared, a page is not its own source but one like any other.
        guard source == unit, !(clearsMemory && isMemory) else { return .reference }
        if patched { return .own }
        // A block that was written is present, even if it is again what it was in the parent.
        return isMemory ? .nothing : .reference
    }
}

extension PackContent.Value {
    /// This value with `patch` over it. Where the content is known, it is changed at once.
    func patched(_ patch: Patch?, _ pages: (any PageStore)?) throws(VMSyncError) -> PackContent.Value {
        guard let patch else { return self }
        var content: [UInt8]
        switch source {
        case .zero: content = [UInt8](repeating: 0, count: Unit.size)
        case .whole(let page): content = page.withBytes { Array($0) }
        case .base, .parent: return PackContent.Value(source, self.patch.map { $0.overwritten(by: patch) } ?? patch)
        }
        self.patch?.apply(to: &content)
        patch.apply(to: &content)
        return try content.withRawBytes { bytes throws(VMSyncError) in
            PackContent.Value(isZero(bytes) ? .zero : .whole(try Page(bytes, in: pages)))
        }
    }
}

/// Runs that own their bytes.
package struct Patch: Equatable {
    /// Rising, with at least one byte between two of them.
    private(set) var runs: [Range<Int>] = []
    /// Of all runs, one after the other.
    private(set) var bytes: [UInt8] = []

    init(_ runs: Runs) {
        runs.forEach { position, bytes in
            add(position..<position + bytes.count)
            self.bytes.append(contentsOf: bytes)
        }
    }

    /// Every byte of `page` for which `mask` holds; at least one.
    package init(_ page: [UInt8], where mask: [Bool]) {
        for position in mask.indices where mask[position] {
            add(position..<position + 1)
            bytes.append(page[position])
        }
    }

    private mutating func add(_ run: Range<Int>) {
        if let last = runs.last, last.upperBound == run.lowerBound {
            runs[runs.count - 1] = last.lowerBound..<run.upperBound
        } else {
            runs.append(run)
        }
    }

    package func apply(to page: inout [UInt8]) {
        var from = 0
        for run in runs {
            page.replaceSubrange(run, with: bytes[from..<from + run.count])
            from += run.count
        }
    }

    /// One patch that does what this one and then `later` does.
    func overwritten(by later: Patch) -> Patch {
        var page = [UInt8](repeating: 0, count: Unit.size)
        apply(to: &page)
        later.apply(to: &page)
        var mask = [Bool](repeating: false, count: Unit.size)
        for run in runs + later.runs { for position in run { mask[position] = true } }
        return Patch(page, where: mask)
    }

    /// The column `places` of the format.
    var places: [UInt8] {
        var places: [UInt8] = []
        var end = 0
        for run in runs {
            Varint.append(UInt64(run.lowerBound - end), to: &places)
            Varint.append(UInt64(run.count), to: &places)
            end = run.upperBound
        }
        return places
    }
}
