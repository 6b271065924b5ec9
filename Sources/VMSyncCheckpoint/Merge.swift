import VMSyncCore

extension PackContent {
    /// Becomes one content that does what this one does and then `later`: the values of this one are put into those of
    /// `later` (docs/format/checkpoint.md, "Merging").
    package mutating func follow(_ later: PackContent) throws(VMSyncError) {
        if later.startsAtBase {
            self = PackContent(
                startsAtBase: true, clearsMemory: later.clearsMemory, values: later.values, pages: pages)
            return
        }
        // All of them speak of this content as it is before any is changed.
        var changes: [(UnitID, Value)] = []
        changes.reserveCapacity(later.values.count)
        for (unit, value) in later.values { changes.append((unit, try substituted(value))) }
        if later.clearsMemory {
            clearsMemory = true
            values = values.filter { $0.key.space != .memory }
        }
        for (unit, value) in changes { values[unit] = value }
    }

    package func followed(by later: PackContent) throws(VMSyncError) -> PackContent {
        var merged = self
        try merged.follow(later)
        return merged
    }

    /// `value`, which speaks of the checkpoint that this content makes, in terms of the parent of this content.
    private func substituted(_ value: Value) throws(VMSyncError) -> Value {
        guard case .parent(let source) = value.source else { return value }
        return try self.value(of: source).patched(value.patch, pages)
    }

    /// What `unit` is after this content, whether it names it or not.
    private func value(of unit: UnitID) -> Value {
        if let value = values[unit] { return value }
        switch unit.space {
        case .memory where startsAtBase || clearsMemory: return Value(.zero)
        case .disk(let disk) where startsAtBase: return Value(.base(disk: disk, block: unit.index))
        default: return Value(.parent(unit))
        }
    }
}

/// Makes one pack of two that follow each other, so that applying it is applying both. Pure: needs neither memory nor disks.
package enum Merge {
    /// - Parameters:
    ///   - earlier, later: whole packs, `later` a child of `earlier`.
    ///   - deviceState: of the parent of `earlier`; empty if that is the base or off.
    /// - Returns: the length of the pack that went to `sink`, and the units that it names.
    /// - Throws: `corrupt` if a pack is damaged; `outOfOrder` if they don't follow each other; `invalidInput` if the result
    ///   would pass a limit of the format, so that they must stay two.
    package static func merge(
        _ earlier: UnsafeRawBufferPointer, _ later: UnsafeRawBufferPointer, deviceState: [UInt8],
        workspace: PackWorkspace, into sink: @escaping PackWriter.Sink
    ) throws(VMSyncError) -> (length: Int, units: Int) {
        let first = try PackReader(earlier)
        let second = try PackReader(later)
        try checkFollows(first.manifest, second.manifest)
        let firstState = try first.validated(after: deviceState)
        let secondState = try second.validated(after: firstState ?? [])
        let content = try PackContent(first).followed(by: try PackContent(second))
        try content.checkLimits()

        var manifest = second.manifest
        if !manifest.isKeyframe {
            manifest.parent = first.manifest.parent
            manifest.parentDigest = first.manifest.parentDigest
        }
        let writer = try PackWriter(
            workspace, clearsMemory: content.clearsMemory && manifest.kind == .live, sink: sink)
        if let secondState {
            let parent = manifest.isKeyframe ? [] : deviceState
            try parent.withRawBytes { parent throws(VMSyncError) in
                try writer.addDeviceState(secondState, parent: parent)
            }
        }
        try content.write(to: writer)
        return (try writer.finish(manifest), content.values.count)
    }

    static func checkFollows(_ first: Manifest, _ second: Manifest) throws(VMSyncError) {
        let follows =
            second.isKeyframe || (second.parent == first.sequence && second.parentDigest == first.digest.combined)
        guard first.vm == second.vm, first.definition == second.definition, follows, first.sequence < second.sequence
        else {
            throw VMSyncError(
                .outOfOrder, "checkpoint \(second.sequence) doesn't follow checkpoint \(first.sequence): no merge")
        }
    }
}

extension PackContent {
    /// - Throws: `invalidInput` if whoever applies it would have to save too many units.
    func checkLimits() throws(VMSyncError) {
        var sources: Set<UnitID> = []
        for (unit, value) in values {
            guard case .parent(let source) = value.source, isChanged(source),
                form(of: source, in: unit, patched: value.patch != nil) == .reference
            else { continue }
            sources.insert(source)
        }
        guard sources.count <= Limits.stashMax else {
            throw VMSyncError(.invalidInput, "a merge would make the receiver save \(sources.count) units")
        }
    }

    private func isChanged(_ unit: UnitID) -> Bool { values[unit] != nil || (clearsMemory && unit.space == .memory) }
}

extension PackReader {
    /// Checks every record, and gives the device state.
    func validated(after deviceState: [UInt8]) throws(VMSyncError) -> [UInt8]? {
        let parent = manifest.isKeyframe ? [] : deviceState
        return try parent.withRawBytes { bytes throws(VMSyncError) in
            try validate(parentDeviceState: bytes).deviceState
        }
    }
}
